"""Requests of guests and hosts about photos: upload, list, approve, reject."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...control.state import Control, Place
from ...errors import GalleryError
from ...media.image_reader import BadImage
from ..json_response import JSONResponse
from ..parameters import whole_parameter
from . import limits
from .catalogue import Catalogue, Photo
from .form import BadForm, boundary_of, form_events
from .guest_folder import STATES, GuestFolder, GuestPhoto, not_kept
from .limits import Quota, Refused, network_of

_log = logging.getLogger("livemosaic")

GUEST_HEADER = "livemosaic-guest"  # an id that the upload page makes
FIELD = b"photo"
SLOT_S, _RETRY_S = 30.0, 5.0  # for which an upload waits for its turn; then, until the next try
MAX_LISTED = 1000
ORDERS = ("newest", "oldest")  # which ones come first
THREADS = 12  # for what waits for a file, the decoder or a picture


class PhotoRoutes:
    """The answers to all requests about photos."""

    def __init__(self, control: Control, catalogue: Catalogue) -> None:
        self._control, self._catalogue = control, catalogue
        catalogue.snaps = lambda: control.snaps()  # which the pipeline sets later
        self._quota = Quota()
        self._slots = asyncio.Semaphore(limits.MAX_UPLOADS)
        self._slots_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        # Each on a thread: others must stay free for what the host decides.
        self._finding = asyncio.Semaphore(THREADS // 3)
        self._drawing = asyncio.Semaphore(THREADS // 3)
        self.routes = [
            Route("/api/photos", self._list),
            Route("/api/photos", self._upload, methods=["POST"]),
            Route("/api/photos/approve-all", self._approve_all, methods=["POST"]),
            Route("/api/photos/{id}", self._show),
            Route("/api/photos/{id}/picture", self._picture),
            Route("/api/photos/{id}/approve", self._approve, methods=["POST"]),
            Route("/api/photos/{id}/reject", self._reject, methods=["POST"]),
        ]

    # ---- about photos --------------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        states = request.query_params.getlist("state") or STATES
        order = request.query_params.get("order", ORDERS[0])
        for name, values, known in (("state", states, STATES), ("order", [order], ORDERS)):
            if not set(values) <= set(known):
                raise HTTPException(400, f"{name}: must be one of {', '.join(known)}")
        limit = whole_parameter(request, "limit", 1, MAX_LISTED) or MAX_LISTED
        photos = await to_thread(self._catalogue.photos)
        chosen = [photo for photo in photos if photo.state in states]
        if order == "oldest":
            chosen.reverse()
        return JSONResponse([_json(photo) for photo in chosen[:limit]])

    async def _show(self, request: Request) -> Response:
        photo = await self._find(request)
        places: list[Place] = []
        if photo.state == "approved":
            async with self._finding:
                places = await to_thread(self._control.photo_places, photo.path)
        return JSONResponse({**_json(photo), "places": [place._asdict() for place in places]})

    async def _picture(self, request: Request) -> Response:
        photo = await self._find(request)
        try:
            async with self._drawing:
                jpeg = await to_thread(self._catalogue.picture, photo)
        except BadImage as error:
            raise HTTPException(404, f"there is no picture: {error}") from None
        return Response(jpeg, media_type="image/jpeg")

    async def _find(self, request: Request) -> Photo:
        photo = await to_thread(self._catalogue.find, request.path_params["id"])
        if photo is None:
            raise HTTPException(404, "there is no such photo")
        return photo

    # ---- of the host ---------------------------------------------------------------------

    async def _approve(self, request: Request) -> Response:
        photo = await self._decide(request, GuestFolder.approve)
        if photo["state"] == "rejected":
            raise HTTPException(409, "it was rejected, and is deleted")
        return JSONResponse(photo)

    async def _reject(self, request: Request) -> Response:
        photo = await self._find(request)
        if photo.snap:
            try:
                await to_thread(self._catalogue.remove_snap, photo, self._control)
            except OSError as error:
                problem = f"the photo's file cannot be deleted: {error.strerror}"
                raise HTTPException(409, problem) from None
            except GalleryError as error:
                raise HTTPException(409, str(error)) from None
            return JSONResponse({"id": photo.id, "state": "rejected"})
        return JSONResponse(await self._decide(request, GuestFolder.reject))

    async def _decide(
        self, request: Request, decide: Callable[[GuestFolder, str], GuestPhoto | None]
    ) -> dict[str, Any]:
        try:
            photo = await to_thread(decide, self._guests(), request.path_params["id"])
        except OSError as error:
            raise _not_moved(error) from None
        if photo is None:
            raise HTTPException(404, "there is no such photo of a guest")
        return {"id": photo.id, "state": photo.state}

    async def _approve_all(self, _: Request) -> Response:
        try:
            count = await to_thread(self._guests().approve_all)
        except OSError as error:
            raise _not_moved(error) from None
        return JSONResponse({"approved": count})

    def _guests(self) -> GuestFolder:
        guests = self._catalogue.guests
        if guests is None:
            raise HTTPException(404, "there are no guests; start livemosaic with --guests FOLDER")
        return guests

    # ---- of guests -----------------------------------------------------------------------

    async def _upload(self, request: Request) -> Response:
        guests = self._guests()
        boundary = boundary_of(request.headers.get("content-type", ""))
        if boundary is None:
            raise HTTPException(415, "content-type: must be multipart/form-data")
        try:
            self._quota.check(*_sender(request))
            await to_thread(guests.check_room)
        except Refused as error:
            raise _refusal(error) from None
        async with self._slot(request):
            return JSONResponse(await self._receive(request, guests, boundary))

    @contextlib.asynccontextmanager
    async def _slot(self, request: Request) -> AsyncIterator[None]:
        """Wait for the turn of an upload, for a while."""
        address = network_of(_sender(request)[0])
        most = limits.MAX_UPLOADS_OF_ADDRESS
        own = self._slots_of.setdefault(address, asyncio.Semaphore(most))
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(SLOT_S):
                    # Its own first: who waits there keeps no one else from theirs.
                    await stack.enter_async_context(own)
                    await stack.enter_async_context(self._slots)
            except TimeoutError:
                problem = "there are too many uploads; try again in a moment"
                raise _refusal(Refused(problem, retry_s=_RETRY_S)) from None
            yield

    async def _receive(
        self, request: Request, guests: GuestFolder, boundary: bytes
    ) -> list[dict[str, Any]]:
        """Take the photos of a form one after the other; the answer for each."""
        answers: list[dict[str, Any]] = []
        receiver: _Receiver | None = None
        try:
            async for kind, value in form_events(request.stream(), boundary):
                if kind == "begin" and value == FIELD:
                    if len(answers) >= limits.MAX_FILES:
                        raise BadForm(f"there are over {limits.MAX_FILES} photos; send fewer")
                    receiver = _Receiver()
                    try:
                        self._quota.take(*_sender(request))
                        receiver.file = guests.new_file()
                    except (Refused, OSError) as error:
                        if isinstance(error, Refused) and error.retry_s and not answers:
                            raise _refusal(error) from None  # others came first meanwhile
                        receiver.refuse(error)
                elif kind == "data" and receiver is not None:
                    receiver.write(value)
                elif kind == "end" and receiver is not None:
                    answers.append(await self._take(receiver, request))
                    receiver = None
        except BadForm as error:
            if not answers:
                raise HTTPException(400, str(error)) from None
            answers.append({"error": str(error)})
        finally:
            if receiver is not None:
                receiver.close()
        if not answers:
            raise HTTPException(400, f"there is no photo; send it as {FIELD.decode()}")
        return answers

    async def _take(self, receiver: _Receiver, request: Request) -> dict[str, Any]:
        """The answer for a photo that has come."""
        receiver.flush()
        if receiver.file is None:
            return {"error": receiver.problem}
        try:
            photo, known = await self._catalogue.add(receiver.file)
        except Refused as error:
            if error.was_costly:
                self._quota.add_costly(_sender(request)[0])
            return {"error": str(error)}
        answer = {"id": photo.id, "state": photo.state}
        return {**answer, "duplicate": True} if known else answer


class _Receiver:
    """Writes what comes of a photo into a file, as long as it may grow."""

    def __init__(self) -> None:
        self.file: BinaryIO | None = None
        self.problem = ""
        self._size = 0

    def write(self, data: bytes) -> None:
        if self.file is None:
            return
        self._size += len(data)
        try:
            if self._size > limits.MAX_PHOTO:
                most = limits.MAX_PHOTO // 10**6
                raise Refused(f"it has over {most} MB; send a smaller one")
            self.file.write(data)
        except (Refused, OSError) as error:
            self.refuse(error)

    def flush(self) -> None:
        """Write what is still in memory."""
        try:
            if self.file is not None:
                self.file.flush()
        except OSError as error:
            self.refuse(error)

    def refuse(self, error: Refused | OSError) -> None:
        """Pass over the rest."""
        if isinstance(error, OSError):
            _log.debug("guests", exc_info=error)
            error = not_kept(error)
        self.problem = str(error)
        self.close()

    def close(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            with contextlib.suppress(OSError):  # what is in memory has no room
                file.close()


def _json(photo: Photo) -> dict[str, Any]:
    return {
        "id": photo.id,
        "name": photo.name,
        "state": photo.state,
        "added_s": round(photo.added_s, 3),
        "guest": photo.guest,
        "snap": photo.snap,
    }


def _sender(request: Request) -> tuple[str, str]:
    """The address and the id of a guest."""
    address = "" if request.client is None else request.client.host
    return address, request.headers.get(GUEST_HEADER, "")


def _refusal(error: Refused) -> HTTPException:
    """Too many now; or, for a guest that can do nothing about it, a conflict with what is there."""
    if error.retry_s is None:
        return HTTPException(409, str(error))
    return HTTPException(429, str(error), {"Retry-After": str(max(1, round(error.retry_s)))})


def _not_moved(error: OSError) -> HTTPException:
    return HTTPException(409, f"the photo's file cannot be moved: {error.strerror}")
