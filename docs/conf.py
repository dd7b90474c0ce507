"""Sphinx configuration of the site, which `make docs` builds.

README.md and the pages here are read on their own as well, so their links are
those of the repository. The site differs in two ways: a line that is nothing
but a link to a section of README.md becomes that section, and a link to a file
that is no page becomes the file's path.
"""
import posixpath
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

from mmcv.transforms.utils import cache_randomness  # noqa: E402

from mwam_mm.version import __version__  # noqa: E402

# Sphinx looks methods up on their classes, which mmcv's decorator does not
# expect.
_bind = cache_randomness.__get__
cache_randomness.__get__ = lambda self, instance, owner=None: (
    self if instance is None else _bind(self, instance, owner))

project = 'mwam_mm'
author = 'mwam_mm contributors'
release = __version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
myst_heading_anchors = 3
html_theme = 'furo'
html_title = 'mwam_mm'
html_show_copyright = False
html_show_sphinx = False
exclude_patterns = ['_build', 'README.md']

autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_inherit_docstrings = False
autodoc_typehints = 'none'  # Args: has them
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Sections of OpenMMLab's transforms.
napoleon_custom_sections = [
    'Required Keys', 'Added Keys', 'Modified Keys', 'Required Keys (optional)'
]

_README = re.compile(r'^\[[^\]\n]+\]\((?:\.\./)?README\.md(?:#([\w-]+))?\)$',
                     re.MULTILINE)
# Code, in which nothing is a link, or a link.
_LINK = re.compile(
    r'(?:^```.*?^```|`[^`\n]+`)|(!?)\[([^\]]*)\]\(([^)\s]+)\)',
    re.MULTILINE | re.DOTALL)


def _anchor(heading):
    """What a heading is called in links."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def _sections():
    """The sections of README.md by their anchor, '' for what comes first."""
    first, *parts = re.split(r'^(?=## )', (ROOT / 'README.md').read_text(),
                             flags=re.MULTILINE)
    sections = {'': first.split('\n', 1)[1]}
    for part in parts:
        sections[_anchor(part.split('\n', 1)[0][3:])] = part
    return sections


SECTIONS = _sections()
# Where the sections are on the site.
PAGES = {
    anchor: path.stem
    for path in sorted(DOCS.glob('*.md'))
    for anchor in _README.findall(path.read_text())
}


def _on_the_site(folder):
    """A link of a file in a folder of the repository, as the site has it."""

    def replace(match):
        image, text, target = match.groups()
        if target is None:
            return match[0]
        path, _, anchor = target.partition('#')
        if '://' in target or (not path and folder != ''):
            return match[0]
        path = posixpath.normpath(posixpath.join(folder, path or 'README.md'))
        if path == 'README.md' and anchor in PAGES:
            page = f'{PAGES[anchor]}.md'
        elif path == 'README.md':
            raise ValueError(f'the link {match[0]} leads to a section that '
                             'no page of docs/ has')
        elif path.startswith('docs/') and (ROOT / path).is_file():
            page = path[len('docs/'):]
        elif (ROOT / path).exists():
            return f'`{path}`'
        else:
            raise ValueError(f'the link {match[0]} leads nowhere')
        return f'{image}[{text}]({page}{"#" * bool(anchor)}{anchor})'

    return replace


def _read_page(app, docname, source):
    here = _on_the_site(posixpath.dirname(f'docs/{docname}'))
    pieces, last = [], 0
    for match in _README.finditer(source[0]):
        pieces += [
            _LINK.sub(here, source[0][last:match.start()]),
            _LINK.sub(_on_the_site(''), SECTIONS[match[1] or ''])
        ]
        last = match.end()
    pieces.append(_LINK.sub(here, source[0][last:]))
    source[0] = ''.join(pieces)


def setup(app):
    app.connect('source-read', _read_page)
