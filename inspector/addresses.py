"""Addresses as people may see them."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"((?:password|passwd|pass|pwd|token)=)[^&;_/?#\s]+", re.IGNORECASE)


def without_passwords(url: str) -> str:
    """The address for people. Some cameras take their password in the path or query only.

    >>> without_passwords("rtsp://10.0.0.21/user=op_password=s3cret_channel=1?pwd=s3cret&x=1")
    'rtsp://10.0.0.21/user=op_password=***_channel=1?pwd=***&x=1'
    """
    return _PASSWORD.sub(r"\1***", url)
