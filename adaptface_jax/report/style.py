"""The HTML skeleton of a page and its style: light and dark, wide and narrow, no external resources."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from adaptface_jax.core.version import __version__
from adaptface_jax.evaluation.plots import PALETTE

# The browser blocks anything that a page tries to load or run, and reports the attempt in its console.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root{color-scheme:light dark;--shade:#0003;--paper:#fbfbf9;--good:#1f7a4d;--bad:#b3402e;--warn:#96690a}
@media(prefers-color-scheme:dark){:root{--shade:#000a;--paper:#15181b;--card:#1b1f23;--ink:#e6e7e4;--soft:#9aa3ac;--faint:#2a2f34;
--line:#3b4147;--main:#5cbcbb;--base:#79828b;--good:#62c08f;--bad:#ee8a76;--warn:#dcae55;
--c0:#6aa8e6;--c1:#e8a45c;--c2:#68c3a1;--c3:#bd93da;--c4:#e5869b;--c5:#a9bf62;--c6:#7fc0d8;--c7:#c4a384}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:44px 24px 72px}
h1{font-size:2.1rem;line-height:1.15;letter-spacing:-.02em;margin:.15em 0 .3em;overflow-wrap:anywhere}
h2{font-size:1.3rem;letter-spacing:-.01em;margin:3rem 0 .35rem}
h3{font-size:1rem;margin:1.8rem 0 .4rem}
p{margin:.4rem 0 1rem;max-width:68ch}
a{color:var(--main);text-underline-offset:2px}
.over{color:var(--soft);font-size:.82rem;margin:0}
.lead{color:var(--soft);margin:0 0 1rem}
.answer{font-size:1.45rem;line-height:1.35;letter-spacing:-.01em;max-width:38ch;margin:0 0 .7rem;text-wrap:balance}
.answer b{color:var(--main);font-weight:650}
.banner{border-left:3px solid var(--warn);padding:.15rem 0 .15rem .9rem;margin:1.2rem 0}
.note{color:var(--soft);font-size:.86rem}
.chip{display:inline-block;text-decoration:none;margin:0 .3em .3em 0;
font-size:.84rem;padding:.18em .75em;border-radius:99px;border:1px solid var(--line)}
.chip.ok{color:var(--good)}.chip.mixed{color:var(--warn)}.chip.warning,.chip.note{color:var(--warn)}.chip.fault{color:var(--bad)}
.hero{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,6fr);gap:16px 48px;align-items:center;margin-top:1.6rem}
.tiles{display:flex;gap:12px 36px;flex-wrap:wrap;margin:1.2rem 0;padding:0;list-style:none}
.tiles li{display:flex;flex-direction:column-reverse}
.tiles b{font-size:1.75rem;font-weight:620;line-height:1.2;font-variant-numeric:tabular-nums;letter-spacing:-.02em}
.tiles span{color:var(--soft);font-size:.84rem}
.tiles .main b{color:var(--main)}
.charts{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:0 48px;margin:1.4rem 0 0}
.charts figure{display:grid;grid-template-rows:subgrid;grid-row:span 5;row-gap:0;margin-bottom:34px}
.charts figcaption{grid-row:1}.charts .legend{grid-row:2}.charts svg{grid-row:3}.charts .note{grid-row:4}
.charts .values{grid-row:5}
.values{min-width:0;margin:.2rem 0}.values summary{font-size:.84rem}.values .wide{max-height:22rem;overflow:auto}
figure{margin:0;min-width:0;max-width:560px;width:100%}
figcaption{font-weight:600;font-size:.95rem;margin-bottom:.3rem}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font-size:11.5px;fill:var(--ink);font-variant-numeric:tabular-nums}
svg .tick,svg .title{fill:var(--soft)}svg .strong{font-weight:620}svg .up{fill:var(--good)}svg .down{fill:var(--bad)}
svg .inside{fill:var(--card);font-size:11px}
svg .grid{stroke:var(--faint)}svg .axis{stroke:var(--line)}
svg .line{fill:none;stroke-width:1.9;stroke-linejoin:round}
svg .raw{opacity:.28;stroke-width:1}
svg .dashed{stroke-dasharray:4 4}
svg .band{opacity:.17}
svg .field.none{fill:var(--faint)}svg .field.up{fill:var(--good)}svg .field.down{fill:var(--bad)}
svg .strip{fill:transparent}svg .stop>g{visibility:hidden;pointer-events:none}svg .stop:hover>g{visibility:visible}
svg .stop text{font-size:12px}svg .tip{fill:var(--card);stroke:var(--line)}
svg .link{stroke-width:3;stroke-linecap:round;opacity:.5}
.legend{list-style:none;display:flex;flex-wrap:wrap;align-content:start;gap:.1rem 1.1rem;margin:0 0 .35rem;padding:0;
font-size:.84rem;color:var(--soft)}
.key{display:inline-block;width:.75em;height:.75em;border-radius:50%;margin-right:.45em;background:var(--key)}
.key.ring{background:none;border:2px solid var(--key)}
.key.dashed{border-radius:0;height:2px;width:19px;vertical-align:.25em;
background:repeating-linear-gradient(90deg,var(--key) 0 4px,transparent 4px 7.5px)}
.wide{overflow-x:auto;margin:.5rem 0 1rem;border:1px solid var(--faint);border-radius:10px;background:
linear-gradient(to left,var(--card),transparent) 100% 0/44px 100% no-repeat local,
linear-gradient(to left,var(--shade),transparent) 100% 0/22px 100% no-repeat scroll,var(--card)}
.wide tr>:first-child{position:sticky;left:0;z-index:1;background:var(--card)}
.wide tr.this>:first-child{background:color-mix(in srgb,var(--main) 9%,var(--card))}
.wide:focus-visible{outline:2px solid var(--main)}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.7rem .75rem .1rem}
th,td{padding:.46rem .75rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--faint)}
thead th{color:var(--soft);font-weight:500;font-size:.82rem;border-bottom-color:var(--line);vertical-align:bottom}
th:first-child,td:first-child,.left{text-align:left}
tbody th{font-weight:500}
tbody tr:last-child>*{border-bottom:0}
tr.mean>*{font-weight:650;border-top:1px solid var(--line)}
tr.group>*{color:var(--soft);font-style:normal}
tr.this>*{background:color-mix(in srgb,var(--main) 9%,transparent);font-weight:600}
th small{white-space:normal;max-width:17em}
th small,td small{color:var(--soft);display:block;font-size:.78rem;line-height:1.2}
.up{color:var(--good)}.down{color:var(--bad)}.mixed{color:var(--warn)}.quiet{color:var(--soft)}
.wrap td:last-child,.wrap td.left{white-space:normal;min-width:8em;overflow-wrap:anywhere;text-align:left}
.findings{list-style:none;padding:0;margin:.5rem 0}
.findings li{padding:.5rem 0;border-bottom:1px solid var(--faint);display:grid;grid-template-columns:1.6em 10.5em 1fr}
.findings span{grid-column:3;color:var(--soft);font-size:.9rem}
.findings i{font-style:normal}
.findings .ok i{color:var(--good)}.findings .warning i{color:var(--warn)}.findings .fault i{color:var(--bad)}
.steps{list-style:none;padding:0;max-width:68ch}.steps li{padding:.35rem 0}
code{font:.84rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.steps code,.typed code{display:block;background:var(--card);border:1px solid var(--faint);border-radius:8px;
padding:.35rem .7rem;margin-top:.15rem}
.typed{max-width:none}
.columns{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:0 48px;align-items:start}
details{margin:.8rem 0}summary{cursor:pointer;color:var(--main);width:fit-content}
footer{margin-top:4rem;padding-top:1rem;border-top:1px solid var(--faint);color:var(--soft);font-size:.84rem}
.matrix{max-width:900px}.matrix.small{max-width:560px}
.matrix .wide{background:none;border:0;margin:0;padding:1px 0}.matrix .wide svg{min-width:600px}
.matrix.small .wide svg{min-width:340px}
@media(prefers-color-scheme:dark){svg image{filter:brightness(1.65)}}
@media(max-width:760px){main{padding:26px 16px 48px}h1{font-size:1.7rem}.answer{font-size:1.25rem}
.hero,.charts,.columns{grid-template-columns:minmax(0,1fr)}
.tiles{gap:10px 26px}.tiles b{font-size:1.45rem}
svg text{font-size:14px}.matrix svg text{font-size:11.5px}svg .inside{font-size:13px}th,td{padding:.44rem .7rem}
.wide:not(:has(svg)) tr>:first-child{min-width:7rem;max-width:42vw;white-space:normal;
overflow-wrap:break-word}
.findings li{grid-template-columns:1.6em 1fr}.findings li>:nth-child(n+3){grid-column:2}}
@page{margin:14mm 12mm}
@media print{:root{color-scheme:light;--paper:#fff}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
html{font-size:11px}body{font-size:1rem}main{max-width:none;padding:0}h2{margin-top:1.6rem;break-after:avoid}h3,caption{break-after:avoid}
.wide{overflow:visible;border:0;background:none}.wide tr>:first-child{position:static;background:none}
table{font-size:7.2pt}th,td{padding:.25rem .35rem;white-space:normal}td small,th small{font-size:6.2pt}
thead th,.wide .chip{font-size:6.6pt}
.hero{grid-template-columns:5fr 6fr}.hero,.charts,.columns{gap:0 24px}
.charts,.columns{grid-template-columns:repeat(2,minmax(0,1fr))}
figure,tr,li,.tiles{break-inside:avoid}thead{display:table-header-group}details:not([open]){display:none}a{color:inherit}}
"""

# The light colors are those of the plots; the dark ones are above, under their media query.
LIGHT = ":root{" + "".join(f"--{name}:{color};" for name, color in PALETTE.items()) + "}"
PAINTS = [name for name in PALETTE if name in ("main", "base") or name[1:].isdecimal()]
COLORS = "".join(
    f".key.{name}{{--key:var(--{name})}}"
    f"svg .line.{name},svg .link.{name}{{stroke:var(--{name})}}"
    f"svg .dot.{name},svg .bar.{name},svg .band.{name},svg tspan.{name}{{fill:var(--{name})}}"
    f"svg .ring.{name}{{fill:var(--paper);stroke:var(--{name});stroke-width:2}}"
    for name in PAINTS
)


def document(title: str, parts: Iterable[str]) -> str:
    """A self-contained HTML document of the parts that are not empty."""
    footer = f"adaptface_jax {escape(__version__)}. This page is self-contained: it loads nothing and runs nothing."
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{LIGHT}{STYLE}{COLORS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n<footer>{footer}</footer>\n</main>\n</body>\n</html>\n"
    )
