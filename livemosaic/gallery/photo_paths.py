"""From folders, files and globs to image files, and what else is there."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import GalleryError, words_of
from ..media.paths import HEIF_ENDINGS
from .video_frames import video_of

# Of files in folders.
EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib"),
        *(".tif", ".tiff", ".gif", *(f".{ending}" for ending in HEIF_ENDINGS)),
    )
)
VIDEO_EXTENSIONS = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg"),
        *(".3gp", ".3g2", ".wmv", ".ogv", ".flv"),
    )
)

# Recycle bins, thumbnails and snapshots that systems, NAS servers and cameras make, lower case.
SYSTEM_FOLDERS = frozenset(
    (
        *("$recycle.bin", "recycler", "recycled", "#recycle", "@recycle", ".trash", ".trashes"),
        *("system volume information", "lost+found", "#snapshot", "@recently-snapshot", "@tmp"),
        *("@eadir", ".@__thumb", "thumbnails", ".thumbnails"),
    )
)
# Libraries of macOS are folders, in which only these hold the photos themselves.
_LIBRARIES = (".photoslibrary", ".photolibrary", ".migratedphotolibrary", ".aplibrary")
_ORIGINALS = frozenset(("originals", "masters"))
# Folders by their endings: previews of Lightroom, covers of Music and TV.
_PACKAGES = (".lrdata", ".lrcat-data", ".musiclibrary", ".tvlibrary")


@dataclass(slots=True)
class FoundPhotos:
    """The image files at some paths, and what was found beside them. All paths are absolute.

    Attributes
    ----------
    photos, videos : paths, each once, sorted
    unreadable : (path, reason) of folders that cannot be listed
    system_folders : recycle bins, thumbnails and such, which were left out
    links : to folders, which were left out, too: they may lead to the same photos, or in circles
    """

    photos: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    system_folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def find_photos(paths: Iterable[str | Path], *, videos: bool = False) -> FoundPhotos:
    """List image files.

    A folder is searched with its subfolders (without links to folders, hidden names and system
    folders) for the extensions of images. A file that is named, or that a glob finds, is used
    whatever its name, and so is a frame of a video (`clip.mp4#t=1.500`). An existing path is never
    read as a glob.

    Raises
    ------
    GalleryError : a path that does not exist, a glob without a match, or no image at all; with
        `videos`, neither an image nor a video
    """
    found = FoundPhotos()
    names = [os.fspath(path) for path in paths]
    for name in names:
        for path in _matches(name, found):
            if os.path.isdir(path):
                search(path, found)
            else:
                _add(path, found)
    found.photos, found.videos = sorted(set(found.photos)), sorted(set(found.videos))
    found.system_folders = sorted(set(found.system_folders))
    found.links = sorted(set(found.links))
    found.unreadable = sorted(set(found.unreadable))
    if not found.photos and not (videos and found.videos):
        raise _nothing(names, found)
    return found


def _matches(name: str, found: FoundPhotos) -> Iterator[str]:
    """The absolute paths that a name of the user stands for."""
    path = name if os.path.lexists(name) else os.path.expanduser(name)
    if os.path.lexists(path) or os.path.lexists(video_of(path) or ""):
        yield os.path.abspath(path)
        return
    matches = list(_glob(path)) if glob.has_magic(path) else []
    if not matches:
        problem = "there is no such file or folder; check the name"
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            pass
        except OSError as error:  # its folder cannot be read, for example
            problem = f"{words_of(error)}; check the name and the permissions"
        raise GalleryError(f"no photos at {name!r}: {problem}")
    for match in matches:
        system_folder = _system_folder_in(match, pattern=path)
        if system_folder:
            found.system_folders.append(os.path.abspath(system_folder))
        else:
            yield os.path.abspath(match)


def _glob(pattern: str) -> Iterator[str]:
    """As `glob.glob`, but `**` follows no links to folders, which lead to photos once more, or
    round in circles."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from glob.glob(pattern)
        return
    place = parts.index("**")
    for top in glob.glob(os.path.join(*parts[:place])) if place else [os.curdir]:
        for folder, folders, _ in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            below = os.path.join(glob.escape(folder), *(parts[place + 1 :] or "*"))
            for match in _glob(below):
                if not (os.path.islink(match) and os.path.isdir(match)):
                    yield match


def _system_folder_in(match: str, *, pattern: str) -> Path | None:
    """The system folder in what a glob found, unless the glob names it."""
    asked = Path(pattern).parts
    path = Path(match)
    for folder in (*reversed(path.parents), *([path] if path.is_dir() else [])):
        if folder.name not in asked and _is_system_folder(folder.parent.name, folder.name):
            return folder
    return None


def search(folder: str, found: FoundPhotos) -> None:
    """Add what is in a folder and its subfolders."""
    todo, system = [folder], set[str]()
    while todo:
        path = todo.pop()
        try:
            if path in system:
                os.scandir(path).close()
                found.system_folders.append(path)
                continue
            listing = list_folder(path)
        except OSError as error:  # reported, because a user may miss its photos
            found.unreadable.append((error.filename or path, words_of(error)))
            continue
        found.photos += listing.photos
        found.videos += listing.videos
        found.links += listing.links
        system.update(listing.system_folders)
        todo += [*listing.folders, *listing.system_folders]


class Listing(NamedTuple):
    """What is in a folder, without its subfolders."""

    photos: dict[str, int]  # paths, and what tells whether there is another file at the same path
    videos: list[str]
    folders: list[str]  # to be searched, too
    system_folders: list[str]
    links: list[str]  # to folders


def list_folder(folder: str) -> Listing:
    """List a folder; `OSError` if that is impossible."""
    found = Listing({}, [], [], [], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_folder(entry):
                if _is_system_folder(folder, entry.name):
                    found.system_folders.append(entry.path)
                elif not entry.name.startswith("."):
                    (found.links if entry.is_symlink() else found.folders).append(entry.path)
            elif not entry.name.startswith("."):
                extension = os.path.splitext(entry.name)[1].lower()
                if extension in VIDEO_EXTENSIONS:
                    found.videos.append(entry.path)
                elif extension in EXTENSIONS:
                    found.photos[entry.path] = entry.inode()
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_searched_with(folder: str, path: str) -> bool:
    """Whether a search of a folder comes to a folder at another path, or to the same folder."""
    if os.path.realpath(folder) == os.path.realpath(path):
        return True
    inside = os.path.join(folder, "")
    if not path.startswith(inside):
        return False
    for name in path[len(inside) :].split(os.sep):
        if name.startswith(".") or _is_system_folder(folder, name):
            return False
        folder = os.path.join(folder, name)
        if os.path.islink(folder):
            return False
    return True


def _add(path: str, found: FoundPhotos) -> None:
    """Add a file that is named."""
    if os.path.splitext(path)[1].lower() in VIDEO_EXTENSIONS:
        found.videos.append(path)
    else:
        found.photos.append(path)


def _is_system_folder(parent: str, name: str) -> bool:
    if os.path.splitext(parent)[1].lower() in _LIBRARIES:
        return name.lower() not in _ORIGINALS
    name = name.lower()
    return name in SYSTEM_FOLDERS or name.startswith(".trash-") or name.endswith(_PACKAGES)


def _nothing(names: Sequence[str], found: FoundPhotos) -> GalleryError:
    where = ", ".join(map(repr, names)) or "nothing"
    if found.unreadable:
        folder, reason = found.unreadable[0]
        return GalleryError(
            f"no photos in {where}: folder {folder!r} cannot be read: {reason}; "
            "check its permissions"
        )
    if found.videos:
        count = f"{len(found.videos)} video{'s' if len(found.videos) > 1 else ''}"
        return GalleryError(
            f"no photos in {where}, but {count}; add --frames-of-videos 10 to take frames as photos"
        )
    if found.system_folders:
        return GalleryError(
            f"no photos in {where}: {found.system_folders[0]!r} is a folder of the system's, which "
            "is left out; name it to use its photos"
        )
    if found.links:
        return GalleryError(
            f"no photos in {where}: {found.links[0]!r} is a link to a folder, which is left out; "
            "name it to use its photos"
        )
    return GalleryError(
        f"no photos in {where}: a folder needs JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC "
        "files; name another folder, a file or a glob"
    )
