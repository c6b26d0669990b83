"""Pages of video sites, of which yt-dlp finds the address of the video."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ...blocking import start_call
from ...errors import LivemosaicError, RefusedError, SourceError, printable
from ...media.urls import public_name, split_url
from ..base import Source, SourceOptions
from ..input_paths import InputPath
from ..reconnect import ReconnectingSource
from .protocols import Address, find_protocol
from .stream import FiniteError, stream_opener
from .web_page import has_ytdlp, may_be_site

_logger = logging.getLogger("livemosaic")

_FIND_S = 30.0  # limit for all of a site's answers together
_ANSWER_S = 10.0  # for each of them

# The best with picture and sound in one address; else the best without sound. Of the protocols,
# these are FFmpeg's. A mosaic has no use for more than 1080 lines.
_SCHEMES = "https?|rtmp.*|rtsp.*"
_READABLE = f"[protocol~='^({_SCHEMES}|m3u8|m3u8_native)$']"
_FORMAT = "/".join(it + _READABLE for it in ("b[height<=?1080]", "w", "bv*[height<=?1080]", "wv*"))
_NOT_SITES = {"Generic", "UnsupportedURL"}  # they take every address

_SENT = ("headers", "cookies")  # FFmpeg's options
_NO_PICTURE = "it has no picture that can be read; choose another video"
_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_ADDRESSES = re.compile(r"\S+://\S+")
_MAX_WORDS = 200  # characters of a title, or of a site's words
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _Silence:
    """The log of yt-dlp: its errors are raised, too."""

    def debug(self, text: str) -> None: ...

    info = warning = error = debug


class Site:
    """A page of a video site.

    Parameters
    ----------
    url : address of the page
    extractors : of yt-dlp (`InfoExtractor`), tried before its own
    limit_s : for the site's answers
    """

    def __init__(
        self, url: str, *, extractors: Iterable[Any] = (), limit_s: float = _FIND_S
    ) -> None:
        self.name = public_name(url)
        self.address: Address | None = None  # the last that was found
        self._url, self._extractors, self._limit_s = url, tuple(extractors), limit_s

    def is_known(self) -> bool:
        """Whether yt-dlp knows the site; without a request."""
        from yt_dlp.extractor import gen_extractor_classes

        with self._downloader():  # which loads plugins, too
            known = (*self._extractors, *gen_extractor_classes())
        return any(it.ie_key() not in _NOT_SITES and it.suitable(self._url) for it in known)

    def find(self) -> Address:
        """The address of the video, which is valid for a while.

        Raises
        ------
        SourceError
            when the site does not answer; `RefusedError` when it shows no video
        """
        try:
            found = start_call(self._ask, name=f"ask {self.name}").result(self._limit_s)
        except LivemosaicError:
            raise
        except TimeoutError:
            problem = f"the site did not answer within {self._limit_s:g} s"
            raise SourceError(f"{self.name}: {problem}; check the network") from None
        except Exception as error:
            # Without `from error`: it may contain addresses with keys.
            raise _failed(self.name, error) from None
        self.address = found
        return found

    def _downloader(self) -> Any:
        import yt_dlp

        options = {
            **{"quiet": True, "no_warnings": True, "noprogress": True, "logger": _Silence()},
            **{"format": _FORMAT, "socket_timeout": _ANSWER_S, "cachedir": False},
            # Two of a list are enough to see that it is one.
            **{"noplaylist": True, "extract_flat": "in_playlist", "playlist_items": "1:2"},
        }
        downloader = yt_dlp.YoutubeDL(options, auto_init=False)
        for extractor in self._extractors:
            downloader.add_info_extractor(extractor)
        downloader.add_default_info_extractors()
        return downloader

    def _ask(self) -> Address:
        with self._downloader() as downloader:
            found = downloader.extract_info(self._url, download=False)
            if (videos := (found or {}).get("entries")) is not None:
                videos = [it for it in videos if it]
                if len(videos) != 1:
                    kind = "a list of videos" if videos else "an empty list"
                    raise RefusedError(f"{self.name}: it is {kind}; name the page of one video")
                found = videos[0]
            if found and str(found.get("_type", "video")).startswith("url"):
                found = downloader.extract_info(
                    found["url"], download=False, ie_key=found.get("ie_key")
                )
            if not found or not (url := found.get("url")):
                raise RefusedError(f"{self.name}: there is no video on this page; name another one")
            if found.get("vcodec") == "none" or not _is_line(url):
                raise RefusedError(f"{self.name}: {_NO_PICTURE}")
            address, scheme = find_protocol(url), split_url(url).scheme
            if address is None or not re.fullmatch(_SCHEMES, scheme):
                raise RefusedError(
                    f"{self.name}: the site sends it by {scheme}, which cannot be read; choose "
                    "another video"
                )
            if address.maybe_file:
                cookies = downloader.cookiejar.get_cookies_for_url(url)
                options = {**address.options, **_http_options(found, cookies, split_url(url).port)}
                address = replace(address, options=options)
        _logger.info("%s: %s", self.name, _described(found))
        if found.get("acodec") == "none":
            _logger.warning("%s: the site sends picture and sound apart: no sound", self.name)
        return replace(address, name=self.name)


def open_input(spec: str, options: SourceOptions) -> Source | None:
    """Open the video of a page; None for other addresses, and without yt-dlp."""
    if not may_be_site(spec) or not has_ytdlp():
        return None
    site = Site(spec)
    return open_site(site, options) if site.is_known() else None


def open_site(site: Site, options: SourceOptions) -> Source:
    """Open a page's video, as a stream or as a file. A stream's address is asked for each time."""
    opener = stream_opener(site.find, threads=options.threads)
    try:
        return ReconnectingSource(opener, name=site.name, reconnect=options.reconnect)
    except FiniteError:
        from .. import file

        address = site.address
        assert address is not None  # it was read
        # Without a stream's options, which end the search for tracks early.
        options_of_file = {it: address.options[it] for it in _SENT if it in address.options}
        path = InputPath(address.name, address.url, options=options_of_file)
        return file.open_path(path, options, maybe_picture=False)


def _http_options(
    found: dict[str, Any], cookies: Iterable[Any], port: int | None
) -> dict[str, str]:
    """FFmpeg's options for what yt-dlp sends with its requests."""
    to_port = f":{port}" if port else ""  # FFmpeg compares a domain with host and port
    headers = {
        name: value
        for name, value in (found.get("http_headers") or {}).items()
        if name.lower() not in ("accept-encoding", "cookie", "range")
    }
    lines = [
        f"{name}: {value}\r\n" for name, value in headers.items() if _is_line(f"{name}{value}")
    ]
    jar = [
        f"{it.name}={it.value}; path={it.path}; domain={it.domain.lstrip('.')}{to_port}"
        for it in cookies
        if _is_line(f"{it.name}{it.value}") and ";" not in f"{it.value}"
    ]
    return {
        name: text
        for name, text in zip(_SENT, ("".join(lines), "\n".join(jar)), strict=True)
        if text
    }


def _is_line(text: str) -> bool:
    """Whether FFmpeg would send the text as it is, and as no more than a part of a line."""
    return _CONTROL.search(text) is None


def _described(found: dict[str, Any]) -> str:
    """The title, the site and the size of a video, for people."""
    size = (
        f"{found['width']}x{found['height']}" if found.get("width") and found.get("height") else ""
    )
    site = found.get("extractor_key") or ""
    return ", ".join(filter(None, (str(found.get("title") or "")[:_MAX_WORDS], site, size)))


# ---- errors ------------------------------------------------------------------------------


def _failed(name: str, error: BaseException) -> SourceError:
    """The error of yt-dlp in one line, and what to do."""
    from yt_dlp.networking.exceptions import HTTPError, RequestError
    from yt_dlp.utils import (
        DownloadError,
        ExtractorError,
        GeoRestrictedError,
        UnsupportedError,
        UserNotLive,
    )

    if isinstance(error, DownloadError) and error.exc_info and error.exc_info[1] is not None:
        error = error.exc_info[1]
    if isinstance(error, HTTPError):
        error.close()
        if error.status in (404, 410):
            return RefusedError(f"{name}: the site has no such video; check the address")
        if error.status in (401, 403):
            return RefusedError(f"{name}: the site refuses it; choose a public video")
        return SourceError(f"{name}: the site answers {error.status}; try again later")
    if isinstance(error, (RequestError, OSError)):
        return SourceError(f"{name}: the site cannot be reached; check the network")
    if isinstance(error, GeoRestrictedError):
        return RefusedError(
            f"{name}: the site does not show it in your country; choose another one"
        )
    if isinstance(error, UserNotLive):
        return SourceError(f"{name}: it is not live now; try again when it is")
    if isinstance(error, UnsupportedError):
        return RefusedError(f"{name}: yt-dlp finds no video there; check the address")
    text = _words(error)
    if not (isinstance(error, ExtractorError) and error.expected and text):
        _logger.debug("%s: yt-dlp failed with %s", name, type(error).__name__)
        return RefusedError(
            f"{name}: yt-dlp cannot read this page; update it, for the site may have changed: "
            "pip install -U yt-dlp"
        )
    if text.startswith("Requested format"):
        return RefusedError(f"{name}: {_NO_PICTURE}")
    return RefusedError(f"{name}: the site says: {text}; choose a public video")


def _words(error: BaseException) -> str:
    """A site's own words, without the advice for users of yt-dlp's command line."""
    text = " ".join(str(getattr(error, "orig_msg", "")).split())
    kept = [it for it in _SENTENCES.split(text) if " --" not in it and "://" not in it]
    text = " ".join(kept) or _ADDRESSES.sub(lambda it: public_name(it[0]), text)
    return printable(text[:_MAX_WORDS].rstrip(". "))
