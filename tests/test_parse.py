"""Numbers as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from livemosaic.parse import exact, rate, reconnect_attempts, whole


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("25", Fraction(25)),
        ("29.97002997003", Fraction(30000, 1001)),
        ("29.97002997002997", Fraction(30000, 1001)),
        ("59.9400599401", Fraction(60000, 1001)),
        ("23.976024", Fraction(24000, 1001)),
        ("29.97", Fraction(2997, 100)),
        ("23.976", Fraction(2997, 125)),
        ("30.0001", Fraction(300001, 10000)),
        ("12345/1234", Fraction(12345, 1234)),
        ("0.01", Fraction(1, 100)),
        ("1000", Fraction(1000)),
        ("1e2", Fraction(100)),
    ],
)
def test_rates(text: str, meant: Fraction) -> None:
    assert rate(text) == meant


@pytest.mark.parametrize(
    "text", ["0.0123456789012345", "987.65432109876543", "1" * 20 + "/" + "3" * 19]
)
def test_every_rate_fits_into_32_bits(text: str) -> None:
    found = rate(text)
    assert max(found.numerator, found.denominator) < 2**31
    assert abs(found / Fraction(text) - 1) < Fraction(1, 10**6)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0.009",
        "0.0000000001",
        "1000.001",
        "-25",
        "nan",
        "inf",
        "",
        "x",
        "1e1e1",
        "1e999999999",
    ],
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the words are mostly Python's)
        rate(text)


@pytest.mark.parametrize("text", ["1e999999999", "1E-999999999", "1e" + "9" * 5000, "1" * 5000])
def test_what_would_take_for_ever(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the words are mostly Python's)
        exact(text)


def test_whole_numbers() -> None:
    assert whole("-12") == -12
    for text in ("1" * 5000, "1.5", ""):
        with pytest.raises(ValueError):  # noqa: PT011 (the words are mostly Python's)
            whole(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("never", 0), ("0", 0), ("7", 7), ("always", float("inf"))]
)
def test_reconnect_attempts(text: str, meant: float) -> None:
    assert reconnect_attempts(text) == meant


@pytest.mark.parametrize("text", ["sometimes", "-1", "1.5", "", "²", "1" * 5000])
def test_no_reconnect_attempts(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text[:9]}"):
        reconnect_attempts(text)
