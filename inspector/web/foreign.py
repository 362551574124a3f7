"""Keeps pages of other sites from doing something here through the browser of one who may.

A browser lets any page send simple requests anywhere, with the log-in that it remembers. Two things
such a page cannot do: ask for JSON to be sent without our consent (which we never give), and leave
out or forge the `Origin` that browsers add.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException, Request


async def refuse_foreign_pages(request: Request) -> None:
    """A dependency of every route that changes or triggers something; waits for no thread.

    Raises:
        HTTPException: 403 for a page of another site, 415 where the request does not say that it
            sends JSON (its body may be empty).
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        detail = "asked by a page of another site; this is for the station's own pages and programs"
        raise HTTPException(403, detail)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "send the header Content-Type: application/json")
