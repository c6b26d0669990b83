"""The options of a mosaic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from ..argument import take
from ..errors import OptionError, UsageError, as_written, unknown_options
from ..option import Size, check, option, options_of, text_of
from ..tile_size import EVEN_TILE, TileSize, checked, nearest, sides
from .match import MATCHERS

if TYPE_CHECKING:
    from .grid import Grid

MIN_TILE_PX, MAX_TILE_PX = 4, 512
# 16-bit limits of OpenCV's resize and of most encoders.
MAX_SIDE = 32766

# The default size: wide enough for 80 cells of 32 pixels, so that single photos can be recognised.
DEFAULT_TILE_PX, DEFAULT_LONG_SIDE = 32, 2560

# On screens it is smaller: calls expect 1280x720, and windows are hardly larger.
SCREEN_TILE_PX, SCREEN_SIZE = 24, (1280, 720)

# Named sets of options. `reference` has the values of the reference notebook
# (vishnu-chand/videoMosaic). Its 500 tile clusters and the 35th percentile are the defaults of
# `gallery build`.
PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "reference": {
        "scale": 4.0,
        "tile": 32,
        "palette": 150,
        "activity": 16.0,
        "overlay": 0.5,
        "match": "clusters",
        "tint": 0.0,
        "round_up": True,
    },
    # For both tastes: what the photos show, and what they show together.
    "photos-first": {"tint": 0.5, "variety": 0.8, "overlay": 0.1},
    "picture-first": {"tint": 1.0, "variety": 0.2, "overlay": 0.3},
}

# Pairs of options that exclude each other: one that is set in a later layer removes the other from
# earlier layers.
_EXCLUSIVE = (("tile", "columns"), ("scale", "size"))


def can_halve(tile: TileSize | None) -> bool:
    """Whether cells of a size, None for the default, can split in four."""
    return tile is None or all(side % 4 == 0 and side >= 2 * MIN_TILE_PX for side in sides(tile))


def halvable(tile: TileSize) -> TileSize:
    """The nearest size of cells that can split in four."""
    return nearest(tile, low=2 * MIN_TILE_PX, high=MAX_TILE_PX, step=4)


def override(values: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Let the options of a layer, by name, override values, by name."""
    for pair in _EXCLUSIVE:
        if any(name in layer for name in pair):
            values.update(dict.fromkeys(pair))
    # A tile and columns together are a size, too.
    if "tile" in layer and "columns" in layer:
        values.update(scale=None, size=None)
    elif ("scale" in layer or "size" in layer) and values["tile"] is not None:
        values["columns"] = None
    values.update(layer)


@dataclass(frozen=True, slots=True, repr=False)
class MosaicSettings:
    """The options of a mosaic, checked; `livemosaic run --help` explains those that it lists.

    Attributes
    ----------
    round_up : grow the output to whole tiles, as the reference algorithm does
    for_screen : without a size, choose one for a window or a video call instead of a file
    full_size : take tiles larger than the gallery's from the photos themselves, if they are there
    thorough : match a single picture as well as possible, however long it takes; `full_size`, too
    unhurried : no viewer waits for the pictures of a video, so cells of several sizes are matched
        as well as those of frames in which little moves

    Raises
    ------
    OptionError : an option does not take its value
    UsageError : options that exclude each other
    """

    # fmt: off
    tile_px: TileSize | None = option(None, f"""side of a square tile in output pixels, an even
        number, or width and height of others, from 1:2 to 2:1 (default: {DEFAULT_TILE_PX}, on
        screens {SCREEN_TILE_PX})""",
        name="tile", low=MIN_TILE_PX, high=MAX_TILE_PX, kind=EVEN_TILE, live=True)
    columns: int | None = option(None, """number of square tiles across, instead of a tile size;
        both together set the output's size""", low=1, high=16_383, live=True)
    scale: float | None = option(None, f"""output size relative to the input (default: about
        {DEFAULT_LONG_SIDE} pixels wide, on screens within {SCREEN_SIZE[0]}x{SCREEN_SIZE[1]})""",
        low=1e-5, high=1e5)
    size: Size | None = option(None, """exact output size in pixels, instead of a scale; the picture
        is stretched to it""")
    round_up: bool = False
    for_screen: bool = False
    full_size: bool = False
    thorough: bool = False
    unhurried: bool = False
    match: str = option("layout", """how photos are chosen: by where their colours are, or as the
        published algorithm does""", choices=tuple(MATCHERS), live=True)
    tint: float = option(0.8, """how strongly each photo is recoloured to match the area it
        covers""", low=0, high=1, live=True, keeps_tiles=True)
    calm: float = option(0.5, """resistance to swapping photos while the scene moves: 0 lively, 1
        stable""", low=0, high=1, live=True, keeps_tiles=True)
    variety: float = option(0.4, """how many different photos to show: 0 the best-fitting ones, 1 as
        many as possible""", low=0, high=1, live=True)
    min_distance: int = option(3, "number of cells within which a photo may not appear again",
        low=0, high=100, live=True)
    max_uses: int = option(0, "how often a photo may appear in one picture, 0 for no limit",
        low=0, high=2**31 - 1, live=True)
    min_uses: int = option(0, """how often each photo appears in a picture at least, if there
        are enough cells; in a video over time""", low=0, high=2**31 - 1, live=True)
    fine: str = option("none", """where cells split in four: at faces, or where photos do not fit
        the detail; in a single picture up to twice""", choices=("none", "faces", "detail"),
        live=True)
    palette: int = option(150, "number of colours in the palette for the match by clusters",
        low=1, high=4096, live=True)
    overlay: float = option(0.2, """opacity of the original over the tiles: 0 only tiles, 1 only the
        original""", low=0, high=1, live=True, keeps_tiles=True)
    overlay_luma: bool = option(False, """overlay only the lightness of the original, so that photos
        keep their colours""", live=True, keeps_tiles=True)
    activity: float = option(16.0, "how far a colour must change before it counts as movement",
        low=0, high=255, live=True, keeps_tiles=True)
    seed: int = option(0, """seed of all random choices; the same seed, input and options give the
        same pictures""", low=0, high=2**63 - 1, live=True)
    # fmt: on

    def __post_init__(self) -> None:
        check(self)
        if self.tile_px is not None:
            limits = {"low": MIN_TILE_PX, "high": MAX_TILE_PX, "step": 2}
            object.__setattr__(self, "tile_px", checked("tile_px", self.tile_px, **limits))
        if self.fine != "none" and not can_halve(self.tile_px):
            closest = text_of(halvable(self.tile_px or DEFAULT_TILE_PX))
            problem = "with finer cells its sides must be multiples of 4, from 8 on; the nearest "
            problem += f"is {closest}"
            raise OptionError("tile_px", self.tile_px, problem)
        for name in ("round_up", "for_screen", "full_size", "thorough", "unhurried"):
            take(name, getattr(self, name), bool, "True or False")
        if self.size is not None and any(side % 2 or side > MAX_SIDE for side in self.size):
            problem = f"both sides must be even numbers up to {MAX_SIDE}"
            raise OptionError("size", self.size, problem)
        if 0 < self.max_uses < self.min_uses:
            problem = f"must be at most {self.max_uses}, which is max_uses"
            raise OptionError("min_uses", self.min_uses, problem)
        if self.thorough and MATCHERS[self.match].thorough is None:
            raise UsageError(
                f"thorough: match {self.match} has no thorough way; choose another match"
            )

    def __repr__(self) -> str:
        values = ((its.name, getattr(self, its.name), its.default) for its in fields(self))
        changes = (f"{name}={value!r}" for name, value, default in values if value != default)
        return f"MosaicSettings({', '.join(changes)})"

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Self:
        """The settings of options by name, and of the other fields; not all need be there."""
        its = {known.name: known.field for known in options_of(MosaicSettings)}
        return cls(**{its.get(name, name): value for name, value in values.items()})

    @classmethod
    def of_profile(cls, profile: str = "default") -> Self:
        """The settings of a profile.

        Raises
        ------
        OptionError : there is no such profile
        """
        take("profile", profile, str, "a name")
        if profile not in PROFILES:
            raise OptionError("profile", profile, f"must be one of {', '.join(PROFILES)}")
        return cls.of_values(PROFILES[profile])

    def changed(self, **options: Any) -> Self:
        """The same with other values of some options.

        A tile size takes the place of a number of columns, a scale that of a size, and the other
        way round.

        Parameters
        ----------
        options : by the names of the command line, with underscores for dashes, or of the fields

        Raises
        ------
        OptionError : an option does not take its value
        UsageError : options that exclude each other
        TypeError : there is no such option

        Examples
        --------
        >>> from livemosaic import MosaicSettings
        >>> settings = MosaicSettings(tile_px=16).changed(columns=40, tint=0.2)
        >>> settings.tile_px, settings.columns, settings.tint
        (None, 40, 0.2)
        """
        names = {its.name: its.name for its in fields(self)}
        names |= {known.field: known.name for known in options_of(MosaicSettings)}
        known = {**names, **{name: name for name in names.values()}}
        if unknown := options.keys() - known.keys():
            raise unknown_options(unknown, known, dict.fromkeys(names.values()))
        values = {name: getattr(self, its) for its, name in names.items()}
        layer = {known[name]: value for name, value in options.items()}
        override(values, layer)
        if "size" in layer or "columns" in layer:  # whole tiles would be another size
            values["round_up"] = layer.get("round_up", False)
        written = {known[name]: name for name in options}
        with as_written({its: written[name] for its, name in names.items() if name in written}):
            return self.of_values(values)

    def keeps_tiles(self, other: MosaicSettings) -> bool:
        """Whether others differ only in how tiles are shown, not in which."""
        names = [known.field for known in options_of(MosaicSettings) if known.keeps_tiles]
        return replace(self, **{name: getattr(other, name) for name in names}) == other

    def for_grid(self, grid: Grid) -> MosaicSettings:
        """The same, with exactly this grid, whatever the input's size."""
        tile_px, size = grid.tile_px, (grid.width, grid.height)
        return replace(self, tile_px=tile_px, columns=None, scale=None, size=size, round_up=False)
