"""The shop's pages, the same in every framework."""

from html import escape

STYLE = """
  body { font: 17px/1.6 system-ui, sans-serif; max-width: 30rem; margin: 4rem auto; color: #223 }
  h1 { font-size: 1.4rem } li { padding: .1rem 0 } form { margin: 1rem 0 }
  input, button { font: inherit; padding: .35rem .7rem; border: 1px solid #bbc; border-radius: 6px }
  button { background: #223; color: #fff; border-color: #223 } footer { color: #889 }
"""


def home(made_with: str) -> str:
    """Return the page for everybody, which never looks at a session."""
    return _page(
        "A little shop",
        """<form method="post" action="/login">
             <input name="user" placeholder="your name" required autofocus>
             <button>Log in</button>
           </form>
           <p><a href="/cart">To your cart</a></p>""",
        made_with,
    )


def cart(user: str, items: list[str], made_with: str) -> str:
    """Return what a user has chosen so far."""
    lines = "".join(f"<li>{escape(item)}</li>" for item in items)
    return _page(
        f"{escape(user)}'s cart",
        f"""<ul>{lines or "<li>nothing yet</li>"}</ul>
            <form method="post" action="/cart">
              <input name="item" placeholder="something nice" required autofocus>
              <button>Put it in</button>
            </form>
            <form method="post" action="/logout"><button>Log out</button></form>""",
        made_with,
    )


def _page(title: str, body: str, made_with: str) -> str:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{STYLE}</style><h1>{title}</h1>{body}<footer>served by {made_with}</footer>"
    )
