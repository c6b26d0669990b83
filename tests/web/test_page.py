"""The control page in a real browser: each control, plots, several people, no console error."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.browser import DESK, PHONE, Browser, Tab
from tests.program import Run, left, needs_jit

from .conftest import WAIT_S, Site, recorded, served, until

pytestmark = [pytest.mark.slow, needs_jit, pytest.mark.alone]

FULL = "document.querySelectorAll('.option').length > 15 && lines.length > 0 && !isSending"
# In a copy: to read the canvas itself is slow, and the browser says so.
SHOWN = (
    "((copy) => (copy.drawImage(canvas, 0, 0, 8, 8), copy.getImageData(0, 0, 8, 8).data.some("
    "(it, at) => at % 4 < 3 && it)))(new OffscreenCanvas(8, 8).getContext('2d'))"
)


class Live:
    """A run with a control page, and a program that asks it."""

    def __init__(self, run: Run, url: str) -> None:
        self.run, self.url = run, url
        base, _, token = url.partition("/?token=")
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=base, headers=headers, timeout=WAIT_S)

    def values(self) -> dict[str, Any]:
        values: dict[str, Any] = self.client.get("/api/settings").json()
        return values

    def differs(self, name: str, before: object) -> bool:
        """Whether an option has another value than before."""
        return bool(self.values()[name] != before)

    def schema(self) -> dict[str, Any]:
        document = self.client.get("/openapi.json").json()
        options: dict[str, Any] = document["components"]["schemas"]["Settings"]["properties"]
        return options


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Live]:
    """A run in a folder of its own."""
    words = ("pattern:320x180@25", "null", "--size", "320x180", "--tile", "20", "--no-config")
    run = Run("run", *words, "--web", "0", cwd=folder)
    try:
        live = Live(run, run.wait_for(rb"(?m)^control page: (\S+)$")[1].decode())
        with live.client:
            until(lambda: live.client.get("/api/stats").json()["fps_out"])
            yield live
    finally:
        run.interrupt()
        run.end()


@pytest.fixture(scope="module")
def shared_live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with started(tmp_path_factory.mktemp("run")) as live:
        yield live


@pytest.fixture
def live(shared_live: Live) -> Live:
    """A run in the state of its start."""
    switches = {"mirror": False, "privacy": False, "freeze": False}
    shared_live.client.patch("/api/settings", json={"profile": "default", **switches})
    return shared_live


def opened(tab: Tab, live: Live, **screen: Any) -> Tab:
    tab.show(live.url, **{"size": DESK, **screen})
    tab.wait_for(FULL)
    tab.wait_for(SHOWN)
    return tab


@pytest.mark.parametrize(
    ("size", "phone", "dark"), [(DESK, False, False), (PHONE, True, True)], ids=["desk", "phone"]
)
def test_the_page_fits(
    size: tuple[int, int], phone: bool, dark: bool, chromium: Browser, live: Live
) -> None:
    with chromium.tab() as tab:
        opened(tab, live, size=size, phone=phone, dark=dark)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")
        names = tab.names()
        shot = Image.open(io.BytesIO(tab.screenshot())).convert("L")
        small = tab.run(
            "[...document.querySelectorAll('button, select, input:not([type=radio]), summary')]"
            ".filter((it) => it.checkVisibility() && it.offsetHeight < 20).map((it) => it.id)"
        )
        assert tab.problems == []
    assert [role for role, name in names if not name] == []
    expected = {"button": 7, "slider": 5, "combobox": 2, "radio": 7, "switch": 2}
    for role, least in expected.items():
        assert [its for its, _ in names].count(role) >= least
    corner = shot.getpixel((3, shot.height - 3))
    assert isinstance(corner, int)
    assert (corner < 80) == dark
    assert small == []


def operate(tab: Tab, name: str) -> None:
    """Change an option as a person does, by its control."""
    control = f'document.querySelector(\'[name="{name}"], [data-option="{name}"]\')'
    kind = tab.run(f"{control}.type")
    if kind == "range":
        tab.run(f"{control}.focus()")
        now, high = tab.run(f"[{control}.value, {control}.max].map(Number)")
        tab.press(*(("ArrowLeft", 37) if now == high else ("ArrowRight", 39)))
    elif kind == "number":
        tab.run(
            f"{control}.value = Number({control}.value) + Number({control}.step),"
            f"{control}.dispatchEvent(new Event('change'))"
        )
    elif kind == "radio":
        tab.run(f"document.querySelector('[name=\"{name}\"]:not(:checked)').click()")
    elif kind == "select-one":
        tab.run(f"{control}.selectedIndex += 1, {control}.dispatchEvent(new Event('change'))")
    else:
        tab.run(f"{control}.click()")


def test_each_control_changes_its_option(chromium: Browser, tmp_path: Path) -> None:
    with started(tmp_path) as live, chromium.tab() as tab:
        options = live.schema()
        opened(tab, live)
        tab.run("document.querySelector('#settings details').open = true")
        for name in options:
            if name == "columns":  # 17 columns would have the same tiles
                tab.run("change('columns', 8)")
                until(lambda: live.values()["columns"] == 8)
                continue
            before = live.values()[name]
            operate(tab, name)
            until(partial(live.differs, name, before))
        tab.wait_for("values.recording && values.freeze && !isSending")
        operate(tab, "freeze")  # or no picture would come
        until(lambda: recorded(live.client))
        tab.run("document.querySelector('[data-option=recording]').click()")
        tab.run("document.querySelector('[data-action=snapshot]').click()")
        until(lambda: {name[-4:] for name in left(tmp_path)} == {".mkv", ".png"})
        tab.wait_for("document.querySelector('#toasts').textContent.includes('saved')")
        assert tab.problems == []


def test_snap_me_in(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run("document.querySelector('[data-action=snap]').click()")
        tab.wait_for("document.querySelector('#toasts').textContent.includes('joins')")
        tab.wait_for("document.querySelector('#latest').hidden === false")
        tab.run("document.querySelector('#latest').open = true")
        tab.wait_for("document.querySelector('#joined img')?.naturalWidth > 0")
        tab.wait_for("[...joined.values()].every(isSettled)")
        tab.run("document.querySelector('#joined .reject').click()")
        tab.wait_for("document.querySelector('#latest').hidden")
        assert live.client.get("/api/stats").json()["gallery"]["removed"] == 1
        assert tab.problems == []
        live.client.patch("/api/settings", json={"privacy": True})
        tab.run("document.querySelector('[data-action=snap]').click()")
        tab.wait_for("document.querySelector('#toasts').textContent.includes('snap: privacy mode')")


def test_the_page_is_operated_by_the_keyboard(chromium: Browser, live: Live) -> None:
    """Tab reaches everything that can be operated, in the order of the page."""
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run("document.body.focus()")
        reached: list[str] = []
        for _ in range(40):
            tab.press("Tab", 9)
            reached.append(
                tab.run("document.activeElement.dataset.option ?? document.activeElement.name")
                or tab.run("document.activeElement.id || document.activeElement.textContent")
            )
        for name in ("privacy", "freeze", "recording", "quit", "profile", "tint", "mirror"):
            assert name in reached
        assert reached.index("privacy") < reached.index("profile") < reached.index("mirror")


def test_people_see_each_other(chromium: Browser, live: Live) -> None:
    with chromium.tab() as first, chromium.tab() as second:
        opened(first, live)
        opened(second, live, size=PHONE, phone=True)
        first.wait_for("document.querySelector('#pages').textContent.startsWith('2')")
        operate(second, "mirror")
        first.wait_for("document.querySelector('[name=mirror]').checked")
        live.client.patch("/api/settings", json={"tint": 0.35, "privacy": True})
        for tab in (first, second):
            tab.wait_for("document.querySelector('[name=tint]').value === '0.35'")
            tab.wait_for("document.querySelector('#badges').textContent === 'privacy mode'")
        live.client.patch("/api/settings", json={"match": "clusters"})
        unused = "document.querySelector('.unused:has([name=calm]) .note')"
        first.wait_for(f"{unused}?.checkVisibility()")
        note = first.run(
            "document.querySelector('.unused:has([name=fullscreen]) .note').textContent"
        )
        assert note == "Has no effect: there is no window."


def test_an_answer_that_comes_late_takes_nothing_back(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run(
            "window.real = window.fetch, window.fetch = async (...it) => {"
            "  const answer = await real(...it);"
            "  if (it[1]?.method === 'PATCH') await new Promise((go) => { window.release = go; });"
            "  return answer; }"
        )
        operate(tab, "mirror")
        tab.wait_for("!!window.release")
        live.client.patch("/api/settings", json={"tint": 0.35})
        tab.wait_for("document.querySelector('[name=tint]').value === '0.35'")
        tab.run("release()")
        tab.wait_for("!isSending")
        assert tab.run("values.tint") == 0.35
        assert tab.run("document.querySelector('[name=tint]').value") == "0.35"


def hold_back(tab: Tab) -> None:
    """Let each change of the page wait for `let_go`."""
    tab.run(
        "window.real = fetch, window.bodies = [], window.gates = [],"
        "window.fetch = async (path, options) => {"
        "  if (options.method === 'PATCH') {"
        "    bodies.push(JSON.parse(options.body));"
        "    await new Promise((go) => gates.push(go)); }"
        "  return real(path, options); }, 0"
    )


def let_go(tab: Tab) -> None:
    """Let the change go that waits, or the next one."""
    tab.wait_for("gates.length")
    tab.run("gates.shift()()")


def pause(tab: Tab) -> None:
    """Longer than a control keeps its own value after the answer."""
    tab.run("new Promise((done) => setTimeout(done, 1200))")


def test_a_control_keeps_its_value_until_the_answer(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        hold_back(tab)
        operate(tab, "tint")
        pause(tab)
        assert tab.run("document.querySelector('[name=tint]').value") == "0.81"
        let_go(tab)
        tab.wait_for("values.tint === 0.81 && !isSending")
        assert tab.run("document.querySelector('[name=tint]').value") == "0.81"
        live.client.patch("/api/settings", json={"tint": 0.35})
        tab.wait_for("document.querySelector('[name=tint]').value === '0.35'")


def test_a_change_without_an_answer_is_given_up(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run(
            "window.after = AbortSignal.timeout.bind(AbortSignal, 100),"
            "AbortSignal.timeout = () => after(),"
            "window.fetch = (_, { signal }) => new Promise((_, fail) => {"
            "  signal.onabort = () => fail(signal.reason); }), 0"
        )
        operate(tab, "mirror")
        assert tab.run("document.querySelector('[name=mirror]').checked")
        tab.wait_for("document.querySelector('#toasts').textContent.includes('mirror: no answer')")
        assert not tab.run("document.querySelector('[name=mirror]').checked")


def test_a_change_without_a_connection_says_so(chromium: Browser, live: Live) -> None:
    """In words of its own, not in those of the browser."""
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run("window.fetch = async () => { throw new TypeError('Failed to fetch'); }, 0")
        operate(tab, "mirror")
        text = "mirror: no connection; try again"
        tab.wait_for(f"document.querySelector('#toasts').textContent === '{text}'")


def test_a_refusal_concerns_its_option_only(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        hold_back(tab)
        operate(tab, "mirror")
        tab.run("change('tint', 7), 0")
        operate(tab, "overlay")
        overlay = tab.run("document.querySelector('[name=overlay]').value")
        assert float(overlay) != live.values()["overlay"]
        let_go(tab)
        let_go(tab)
        tab.wait_for("document.querySelector('#toasts').textContent.includes('tint: must be')")
        tab.wait_for("document.querySelector('[name=tint]').value === '0.8'")
        assert tab.run("document.querySelector('[name=overlay]').value") == overlay
        let_go(tab)
        until(lambda: live.values()["overlay"] == float(overlay))
        tab.wait_for("!isSending")
        assert tab.run("document.querySelector('[name=overlay]').value") == overlay
        assert live.values()["mirror"]


def test_a_later_change_comes_later(chromium: Browser, live: Live) -> None:
    """A profile, which sets other options, does not undo what was changed after it."""
    with chromium.tab() as tab:
        opened(tab, live)
        hold_back(tab)
        operate(tab, "mirror")
        for change in ("'tint', 0.1", "'profile', 'default'", "'tint', 0.2"):
            tab.run(f"change({change}), 0")
        for _ in range(3):
            let_go(tab)
        tab.wait_for("!isSending")
        assert tab.run("bodies") == [{"mirror": True}, {"profile": "default"}, {"tint": 0.2}]
        assert live.values()["tint"] == 0.2


def test_a_button_that_is_pressed_twice_is_as_before(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        hold_back(tab)
        operate(tab, "privacy")
        operate(tab, "privacy")
        let_go(tab)
        let_go(tab)
        tab.wait_for("!isSending")
        assert tab.run("bodies") == [{"privacy": True}, {"privacy": False}]
        assert not live.values()["privacy"]


def test_an_earlier_state_that_comes_late_is_left_out(chromium: Browser, live: Live) -> None:
    shown = "document.querySelector('[data-option=privacy]').getAttribute('aria-pressed')"
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run(
            "window.pass = feed.onmessage, window.late = [], feed.onmessage = (it) => {"
            "  const isText = typeof it.data === 'string';"
            "  if (isText && JSON.parse(it.data).type === 'values') late.push(it);"
            "  else pass(it); }, 0"
        )
        for count, is_on in ((1, True), (2, False)):
            operate(tab, "privacy")
            tab.wait_for(f"late.length === {count} && !isSending")
            pause(tab)
            assert tab.run(shown) == str(is_on).lower()
            assert live.values()["privacy"] == is_on
        tab.run("pass(late[0])")
        assert tab.run(shown) == "false"
        tab.run("pass(late[1])")
        assert tab.run(shown) == "false"


def test_a_number_that_is_being_entered_stays(chromium: Browser, live: Live) -> None:
    field = "document.querySelector('[name=spotlight]')"
    with chromium.tab() as tab:
        opened(tab, live)

        def enter(text: str) -> None:
            tab.run(f"{field}.select()")
            tab.type(text)

        def change_elsewhere(spotlight: int, tint: float) -> None:
            live.client.patch("/api/settings", json={"spotlight": spotlight, "tint": tint})
            tab.wait_for(f"document.querySelector('[name=tint]').value === '{tint}'")

        enter("7")
        change_elsewhere(9, 0.35)
        assert tab.run(f"{field}.value") == "7"
        tab.type("\r")
        until(lambda: live.values()["spotlight"] == 7)
        tab.wait_for("!isSending && !kept.size")
        enter("8")
        change_elsewhere(6, 0.45)
        assert tab.run(f"{field}.value") == "8"
        enter("7")  # as it was: there is nothing to send
        tab.run(f"{field}.blur()")
        assert tab.run(f"{field}.value") == "6"
        enter("0")
        tab.type("-")  # no number
        tab.type("\r")
        assert tab.run(f"{field}.value") == "6"
        change_elsewhere(5, 0.55)
        assert tab.run(f"{field}.value") == "5"


def test_a_wait_begins_before_the_page_is_ready(chromium: Browser) -> None:
    with chromium.tab() as tab:
        tab.run("setTimeout(() => { window.made = { late: { text: 'here' } }; }, 200)")
        assert tab.wait_for("made.late.text") == "here"
        with pytest.raises(AssertionError, match=r"never happens: made\.gone.*TypeError"):
            tab.wait_for("made.gone.text", timeout_s=0.1)
        with pytest.raises(AssertionError, match="SyntaxError"):
            tab.wait_for("made.late.")


def test_plots_and_statistics(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        tab.wait_for("lines.length > 3")
        labels = tab.run("[...document.querySelectorAll('.plot svg')].map((it) => it.ariaLabel)")
        points = tab.run(
            "[...document.querySelectorAll('.plot .first')]"
            ".filter((it) => it.tagName === 'polyline').map((it) => it.points.length)"
        )
        places = tab.run("document.querySelector('#places').textContent")
        summary = tab.run("document.querySelector('#summary').textContent")
    assert [label.partition(":")[0] for label in labels] == [
        *("Frame rate", "Latency", "Dropped", "Active cells", "Governor")
    ]
    assert min(points) > 2
    assert "pattern:320x180@25" in places
    assert "null" in places
    assert "frames/s" in summary


def test_a_refusal_is_shown_and_taken_back(chromium: Browser, live: Live) -> None:
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run("change('tint', 7)")
        tab.wait_for("document.querySelector('#toasts').textContent.includes('tint: must be')")
        tab.wait_for("document.querySelector('[name=tint]').value === '0.8'")


def test_the_preview_can_rest(chromium: Browser, live: Live) -> None:
    """Without it nothing is asked for, so nothing is encoded."""
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run(
            "window.asked = 0, window.send = feed.send.bind(feed),"
            "feed.send = (text) => { asked += 1; send(text); }"
        )
        tab.wait_for("asked > 3")
        tab.run("document.querySelector('#preview').click()")
        tab.wait_for("!isAsked")
        asked = tab.run("asked")
        tab.run("new Promise((done) => setTimeout(done, 400))")
        assert tab.run("asked") == asked
        tab.run("document.querySelector('#preview').click()")
        tab.wait_for(f"asked > {asked}")


def test_quit_asks_first(chromium: Browser, own_site: Site) -> None:
    ended: list[bool] = []
    own_site.control.on_quit = lambda: ended.append(True)
    with chromium.tab() as tab:
        tab.show(own_site.listener.url, size=DESK)
        tab.wait_for(FULL)
        tab.run("document.querySelector('#quit').click()")
        assert tab.run("document.querySelector('#confirm').open")
        tab.press("Escape", 27)
        tab.wait_for("!document.querySelector('#confirm').open")
        assert not ended
        tab.run("document.querySelector('#quit').click()")
        tab.run("document.querySelector('#end').click()")
        until(lambda: ended)
        own_site.page.close()
        tab.wait_for("!document.querySelector('#lost').hidden")
        assert tab.run("document.querySelector('[name=tint]').disabled")


def test_the_page_goes_on_with_a_later_run(
    chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one at the same address that has had fewer changes."""
    monkeypatch.setenv("LIVEMOSAIC_WEB_TOKEN", "a-token-that-stays")
    field = "document.querySelector('[name=spotlight]')"
    with chromium.tab() as tab:
        with served() as site:
            for _ in range(9):
                site.control.change(mirror=True)
            tab.show(site.listener.url, size=DESK)
            tab.wait_for(f"{FULL} && document.querySelector('[name=mirror]').checked")
            tab.run(f"{field}.select()")
            tab.type("7")
            address = str(site.listener.port)
        tab.wait_for("!document.querySelector('#lost').hidden")
        with served(address=address):
            tab.wait_for("document.querySelector('#lost').hidden")
            tab.wait_for("!document.querySelector('[name=mirror]').checked")
            assert tab.run(f"{field}.value") == "5"


def test_a_later_run_has_its_own_options(
    chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEMOSAIC_WEB_TOKEN", "a-token-that-stays")
    names = (
        "[...document.querySelectorAll('input[name=profile]')].map((it) => JSON.parse(it.value))"
    )
    with chromium.tab() as tab:
        with served() as site:
            tab.show(site.listener.url, size=DESK)
            tab.wait_for(FULL)
            assert tab.run(names) == ["default", "photos-first"]
            address = str(site.listener.port)
        with served(address=address, profiles={"default": {}, "party": {}}):
            tab.wait_for(f'JSON.stringify({names}) === \'["default","party"]\'')


def test_a_dead_line_is_noticed(chromium: Browser, live: Live) -> None:
    """One on which nothing comes, although it is open."""
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run(
            "window.Real = WebSocket, window.dead = 0,"
            "window.WebSocket = function () { dead += 1; return { close() {} }; },"
            "WebSocket.OPEN = Real.OPEN, feed.close()"
        )
        tab.wait_for("dead === 1")
        tab.run("window.WebSocket = Real, 0")
        tab.wait_for("feed instanceof Real && document.querySelector('#lost').hidden")


def test_a_value_of_the_settings_file_is_shown(chromium: Browser, live: Live) -> None:
    """Of a gallery or a picture that the page does not offer."""
    own = "{ gallery: ['/photos/party.gallery'], outside: '/a/hall.jpg' }"
    with chromium.tab() as tab:
        opened(tab, live)
        tab.run(f"adopt(changes, {{ ...values, ...{own} }}), 0")
        gallery, outside = (f"document.querySelector('[name={it}]" for it in ("gallery", "outside"))
        assert tab.run(f"{gallery}:checked').closest('label').textContent") == "party.gallery"
        assert tab.run(f"{outside}').selectedOptions[0].textContent") == "hall.jpg"


def test_tiles_keep_their_shape(chromium: Browser, live: Live) -> None:
    """While their slider moves, whatever the sizes are rounded to."""
    live.client.patch("/api/settings", json={"tile": "48x32"}).raise_for_status()
    with chromium.tab() as tab:
        opened(tab, live)
        tab.wait_for("values.tile === '48x32'")
        for width in (4, 6, 10, 18, 26, 48):
            tab.run(
                "(() => { const slider = document.querySelector('[name=tile]');"
                f"slider.value = {width}; slider.dispatchEvent(new Event('input')); }})()"
            )
            tab.wait_for("!isSending")
        assert tab.run("values.tile") == "48x32"
        assert tab.run("document.querySelector('#toasts').textContent") == ""


def test_a_stream_fills_the_page(chromium: Browser, live: Live) -> None:
    """As OBS shows it."""
    with chromium.tab() as tab:
        tab.show(live.url.replace("/?", "/stream.mjpg?"), size=(320, 180))
        tab.wait_for("document.images.length && document.images[0].naturalWidth === 320")
        box = tab.run("JSON.stringify(document.images[0].getBoundingClientRect())")
        assert tab.problems == []
    assert (json.loads(box)["x"], json.loads(box)["y"]) == (0, 0)
