"""Lay the figures out for a person, beside the targets; MB are 10^6 bytes."""

from __future__ import annotations

from statistics import mean, median

from tests.bench.measure import Figures


def table(figures: Figures) -> str:
    """Return every figure of a series, one on a line."""
    lines = [f"series {figures.shape.name}, era {figures.era}, {len(figures.weeks)} exports", ""]
    lines += [f"{name:<44} {value:<34} {target}".rstrip() for name, value, target in _rows(figures)]
    lines += ["", f"{'kind':<14} {'objects':>8} {'raw MB':>9} {'stored MB':>10}"]
    lines += [
        f"{kind['kind']:<14} {kind['objects']:>8} {kind['raw_bytes'] / 1e6:>9.2f}"
        f" {kind['stored_bytes'] / 1e6:>10.3f}"
        for kind in figures.stats["kinds"]
    ]
    return "\n".join(lines)


def is_exact(figures: Figures) -> bool:
    """Return whether every export was proven and every restore equal."""
    found = (*figures.weeks, figures.identical, figures.unchanged, figures.switch)
    return all(answer["exact"] for answer in (*found, *figures.restores))


def _rows(figures: Figures) -> list[tuple[str, str, str]]:
    medium = figures.shape.name == "M"
    stored, raw = figures.stats["stored_bytes"], figures.stats["raw_bytes"]
    week = figures.shape.schema_week
    growth = figures.growth
    usual = [size for number, size in enumerate(growth, 1) if number != week]
    rows = [
        ("ZIPs kept", f"{raw / 1e6:.1f} MB", ""),
        ("store", f"{stored / 1e6:.2f} MB", ""),
        ("store, of the ZIPs' sum", f"{100 * stored / raw:.2f} %", "3.2" if medium else "7.5"),
    ]
    for name, limit in (("borg", "0.17"), ("restic", "0.19")):
        if sizes := figures.others.get(name):
            text = f"{stored / sizes[-1]:.3f} of {sizes[-1] / 1e6:.1f} MB"
            rows.append((f"store, of {name} on folders", text, limit))
    rows += [
        ("growth beyond new assets, mean / most", f"{_kb(mean(usual))} / {_kb(max(usual))}", "250"),
        ("growth, the week that changes all", _kb(growth[week - 1]), "400"),
        ("unchanged, exported again", _kb(figures.unchanged["new_bytes"]), "4"),
        ("the same ZIP again", f"{figures.identical['new_bytes']} bytes", "0"),
        ("switch to 2026, of a first import", _switch(figures), "35 %"),
        ("chat.html that could not be derived", _page(figures), "1 %"),
        *_times(figures),
        ("every export exact", "yes" if is_exact(figures) else "NO", "yes"),
    ]
    return rows


def _times(figures: Figures) -> list[tuple[str, str, str]]:
    last = figures.weeks[-3:]
    stored = median(week["stored"][0] for week in last)
    rows = [
        ("stored, last exports, wall / CPU", _seconds(last, "stored"), ""),
        ("stored and proven, wall / CPU", _seconds(last, "proven"), "3 s"),
    ]
    if figures.restic_zip:
        other = median(figures.restic_zip)
        rows.append(
            ("stored, of restic on the ZIP", f"{stored / other:.2f} of {other:.2f} s", "0.75")
        )
    rows += [
        ("the same ZIP again", _seconds([figures.identical], "proven"), "0.3 s"),
        ("unchanged, exported again, stored", _seconds([figures.unchanged], "stored"), "0.3 s"),
        ("restore first", _seconds(figures.restores[:1], "restored"), "4 s"),
        ("restore last", _seconds(figures.restores[1:], "restored"), "4 s"),
        ("peak memory adding", f"{figures.switch['peak_mb']:.0f} MB", "150"),
        ("peak memory restoring", f"{max(r['peak_mb'] for r in figures.restores):.0f} MB", "150"),
    ]
    return rows


def _switch(figures: Figures) -> str:
    new, every = figures.switch_assets
    cost, first = figures.switch["new_bytes"], figures.switch_first["new_bytes"]
    text = (cost - new) / (first - every)
    return f"{100 * cost / first:.1f} % (text alone {100 * text:.1f} %)"


def _page(figures: Figures) -> str:
    kept = sum(k["stored_bytes"] for k in figures.stats["kinds"] if k["kind"] == "html")
    return f"{_kb(kept)} of {len(figures.weeks)} x {figures.page / 1e6:.1f} MB"


def _seconds(answers: list[dict[str, list[float]]], name: str) -> str:
    wall, cpu = (median(answer[name][part] for answer in answers) for part in (0, 1))
    return f"{wall:.2f} s / {cpu:.2f} s"


def _kb(size: float) -> str:
    return f"{size / 1e3:.1f} KB"
