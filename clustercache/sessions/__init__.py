"""Keep users logged in: sessions on a cluster, a standalone server, or in process."""
