"""The page at `/report`, where the public says what went wrong: one form, light and dark, that runs nothing and loads nothing.

A browser takes its one stylesheet by the hash in the header. What could not be taken stays in the form, so that nobody writes it twice.
"""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Final

from starlette.responses import Response

from bylaw.serve.desk import HEADERS

STYLE: Final = """
:root{--paper:#faf9f6;--card:#fff;--ink:#1d2327;--dim:#5a646b;--line:#dcdad3;--edge:#868f95;--main:#1f4e5f;--on:#fff;--link:#17566d;
--good:#1c6b3a;--good-bg:#e6f2ea;--bad:#9b1c1c;--bad-bg:#fbe9e7;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--paper:#14181b;--card:#1b2125;--ink:#e4e7e8;--dim:#a0abb1;--line:#333c42;--edge:#868f95;
--main:#7fb8cb;--on:#0d1a20;--link:#8cc7da;--good:#8fd3a6;--good-bg:#17301f;--bad:#f2a39b;--bad-bg:#3a1d1b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,"Noto Sans","Liberation Sans",sans-serif}
main{max-width:42rem;margin:0 auto;padding:2rem 1.25rem 3rem}
h1{font:600 1.7rem/1.25 Charter,"Noto Serif","Liberation Serif",Georgia,serif;margin:0 0 .5rem}
p{margin:0 0 1rem}.dim{color:var(--dim);font-size:.9rem}
form{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.25rem 1.25rem 1.25rem;margin:1.25rem 0}
label{display:block;margin:1.1rem 0 .3rem;font-weight:600}label span{color:var(--dim);font-weight:400}
textarea,input{width:100%;font:inherit;color:inherit;background:var(--card);border:1px solid var(--edge);border-radius:4px;
padding:.5rem .65rem}
textarea{min-height:5.5rem;resize:vertical;display:block}
button{font:inherit;font-weight:600;margin-top:1.25rem;padding:.75rem 1.5rem;border:0;border-radius:4px;
background:var(--main);color:var(--on)}
a{color:var(--link)}:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.good,.bad{border-left:4px solid;padding:.65rem .9rem;border-radius:3px;overflow-wrap:anywhere;margin:1rem 0}
.good{border-color:var(--good);background:var(--good-bg)}.bad{border-color:var(--bad);background:var(--bad-bg)}
@media(max-width:34rem){main{padding:1.25rem 1rem 2rem}button{width:100%}}
"""
HASH: Final = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
PAGE: Final = {
    **HEADERS,
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "referrer-policy": "same-origin",
}
FIELDS: Final = ("said", "prompt", "reply", "contact")  # of the form
WHOLE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>{style}</style></head>
<body><main>{body}</main></body></html>"""
FORM: Final = """<h1>Report a problem</h1>
<p>Did an answer here say or do something that it should not have, or refuse what it should not refuse? Tell us.</p>{message}
<form method="post" action="/report">
<label for="said">What went wrong?</label>
<textarea id="said" name="said" required maxlength="8000">{said}</textarea>
<label for="prompt">What did you ask? <span>if you remember</span></label>
<textarea id="prompt" name="prompt" maxlength="8000">{prompt}</textarea>
<label for="reply">What was the answer? <span>if you remember</span></label>
<textarea id="reply" name="reply" maxlength="8000">{reply}</textarea>
<label for="contact">How can we reach you? <span>if you wish</span></label>
<input id="contact" name="contact" maxlength="200" autocomplete="email" value="{contact}">
<button>Send</button></form>
<p class="dim">People read it. What you write is kept until the matter is settled, and is deleted earlier if you ask for it.</p>"""
THANKS: Final = """<h1>Thank you</h1>
<p class="good" role="status">Your report was taken as <strong>{id}</strong>.</p>
<p>Keep this number if you want to ask what became of it. What you found is made public on {day} at the latest.</p>
<p><a href="/report">Report something else</a></p>"""


def form(wrong: str, values: Mapping[str, str], status: int) -> Response:
    """The form, with what was written in it already, and why that was not taken."""
    message = f'<p class="bad" role="alert">{escape(wrong[:1].upper() + wrong[1:])}.</p>' if wrong else ""
    filled_in = {name: escape(values.get(name, "")) for name in FIELDS}
    return _page("Report a problem", FORM.format(message=message, **filled_in), status)


def taken(finding: str, disclose_on: str) -> Response:
    """Thanks, and what becomes of it."""
    return _page("Thank you", THANKS.format(id=escape(finding), day=escape(disclose_on)), 201)


def _page(title: str, inner: str, status: int) -> Response:
    return Response(WHOLE.format(title=title, style=STYLE, body=inner), status, PAGE, "text/html; charset=utf-8")
