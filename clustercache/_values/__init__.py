"""Values as bytes, for sessions and caches alike."""
