"""Addresses that may be, or are, web pages and not videos."""

from __future__ import annotations

import importlib.util
import ipaddress
import re

from ...media.paths import ending
from ...media.urls import split_url

_ANSWER_S = 5.0

# Addresses of cameras and of media are no pages of video sites.
_HOME = ("localhost", ".local", ".lan", ".internal", ".home.arpa")
_MEDIA = re.compile(
    "avi|flv|gif|jpe?g|m2ts|m3u8|m4v|mjpe?g|mkv|mov|mp4|mpd|mpg|png|ts|webm|webp", re.IGNORECASE
)


def may_be_site(url: str) -> bool:
    """Whether an address may be a page of a video site: of a public host, and no file of media."""
    parts = split_url(url)
    host = (parts.hostname or "").rstrip(".")
    if "@" in parts.netloc or "." not in host or host.endswith(_HOME):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not _MEDIA.fullmatch(ending(parts.path))
    return False


def has_ytdlp() -> bool:
    """Whether yt-dlp is installed, which finds the videos of many sites."""
    return importlib.util.find_spec("yt_dlp") is not None


def page_problem(url: str) -> str | None:
    """What is wrong with an address that FFmpeg cannot read, if it is that of a web page.

    Asks the server, for some seconds at most.
    """
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    try:
        # Some servers refuse a request for the headers alone.
        with urlopen(Request(url, headers={"User-Agent": "Mozilla/5.0"}), timeout=_ANSWER_S) as it:
            kind = it.headers.get_content_type()
    except (OSError, HTTPException, ValueError):
        return None
    if kind not in ("text/html", "application/xhtml+xml"):
        return None
    advice = "name the address of the video itself"
    if not has_ytdlp():
        advice += ', or, for a page of a video site, pip install "livemosaic[sites]"'
    return f"it is a web page and no video; {advice}"
