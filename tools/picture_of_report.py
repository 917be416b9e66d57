"""Take the picture of a run's report that README.md shows, with a headless Chromium.

    adaptface train --config=demo --workdir=runs/demo
    python tools/picture_of_report.py runs/demo docs/images/report.png

The demo's run shows generated faces alone, if any. Any other page or file can be named instead of a run.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1280, 900


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.browser import browser, executable

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="a run's folder, or a page")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=WIDTH, metavar="PX", help="of the window [%(default)s]")
    parser.add_argument("--height", type=int, default=HEIGHT, metavar="PX", help="of the window [%(default)s]")
    parser.add_argument("--dark", action="store_true", help="as for readers who like dark pages")
    args = parser.parse_args()
    if executable() is None:
        sys.exit("error: no Chromium is installed; expected chromium or google-chrome on the PATH")
    page = args.page / "results.html" if args.page.is_dir() else args.page
    with browser() as tab:
        tab.show(page.resolve().as_uri(), args.width, args.dark, args.height)
        shot = tab.ask("Page.captureScreenshot", format="png")
    args.picture.write_bytes(base64.b64decode(shot["data"]))
    print(f"{args.picture}: {args.picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
