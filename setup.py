"""The part of the package's metadata that is computed: its page on an index of packages.

That page is README.md, whose links are relative to the repository. REPOSITORY_URL, such as
https://github.com/OWNER/NAME, makes them absolute; without it a link becomes its text.
"""

import os
import re
from pathlib import Path

from setuptools import setup

# [text](target) where the target is no address and no heading of the page.
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\(([^)#:\s][^):\s]*)\)")
PICTURE = re.compile(r"<picture>.*?</picture>\n*", re.DOTALL)
SOURCE = re.compile(r'\b(src|srcset)="([^":]+)"')
CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def make_page(readme: str, repository: str) -> str:
    """Return the README without relative links.

    Args:
        readme: Its Markdown text.
        repository: The address of the repository; empty if it has none.
    """
    if not repository:
        readme = PICTURE.sub("", readme)
    pictures = rf'\1="{repository}/raw/HEAD/\2"'
    links = rf"[\1]({repository}/blob/HEAD/\2)" if repository else r"\1"
    # Every second part is a block of code.
    parts = CODE.split(readme)
    parts[::2] = [LINK.sub(links, SOURCE.sub(pictures, part)) for part in parts[::2]]
    return "".join(parts)


if __name__ == "__main__":
    address = os.environ.get("REPOSITORY_URL", "").rstrip("/")
    setup(
        long_description=make_page(Path("README.md").read_text(encoding="utf-8"), address),
        long_description_content_type="text/markdown",
        project_urls={"Repository": address} if address else {},
    )
