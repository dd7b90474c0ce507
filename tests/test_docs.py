"""Links of README.md and docs/, and the pages of the site."""
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from mwam_mm.evaluation import format_comparison

REPO = Path(__file__).resolve().parents[1]
PAGES = [REPO / 'README.md', *sorted((REPO / 'docs').rglob('*.md')),
         *sorted((REPO / 'configs').rglob('README.md'))]


def text_of(path):
    """A page without its code."""
    text = re.sub(r'^```.*?^```', '', path.read_text(), flags=re.M | re.S)
    return re.sub(r'`[^`\n]*`', 'code', text)


def anchors_of(path):
    headings = re.findall(r'^#+ (.+)$', path.read_text(), flags=re.M)
    return {
        re.sub(r'[^\w\- ]', '', h.lower()).replace(' ', '-')
        for h in headings
    }


@pytest.mark.parametrize(
    'page', PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page):
    links = re.findall(r'\]\(([^)\s]+)\)', text_of(page))
    for link in links:
        if '://' in link:
            continue
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(REPO), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_every_page_is_on_the_site():
    """In one table of contents, once."""
    listed = []
    for index in ('docs/index.md', 'docs/api/index.md'):
        for tree in re.findall(r'```\{toctree\}\n(.*?)```',
                               (REPO / index).read_text(), flags=re.S):
            listed += [
                (REPO / index).parent / f'{line}.md'
                for line in tree.splitlines()
                if line and not line.startswith(':')
            ]
    assert len(listed) == len(set(listed))
    assert {*listed, REPO / 'docs/index.md'} == {
        *(REPO / 'docs').glob('*.md'), *(REPO / 'docs/api').glob('*.md')}


def test_sections_of_the_readme_are_on_one_page():
    """The site has README.md's sections in place of lines that link them."""
    found = []
    for page in (REPO / 'docs').glob('*.md'):
        found += re.findall(r'^\[[^\]\n]+\]\(\.\./README\.md(?:#([\w-]+))?\)$',
                            page.read_text(), flags=re.M)
    sections = re.findall(r'^## (.+)$', (REPO / 'README.md').read_text(),
                          flags=re.M)
    expected = {re.sub(r'[^\w\- ]', '', s.lower()).replace(' ', '-')
                for s in sections} | {''}
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    'path', sorted((REPO / 'docs/results').glob('*.json')),
    ids=lambda path: path.stem)
def test_tables_of_studies(path):
    """The page has them as compare_seeds.py wrote them."""
    tables = format_comparison(json.loads(path.read_text()))
    assert tables in (REPO / 'docs/results.md').read_text()


def lead_over(data, row):
    """By how much the recipe's average over all combinations is above a
    row's, for each seed: by the table with the most seeds that has both."""
    found = [{}]
    for path in (REPO / 'docs/results').glob(f'{data}*.json'):
        study = json.loads(path.read_text())
        rows = study['rows']
        if {row, 'combination-k_distill'} <= rows.keys() and \
                not path.stem.startswith('floods_tuning'):  # other images
            factor = 1 if study['metric'] == 'mIoU' else 100
            recipe = rows['combination-k_distill']['avg']['values']
            found.append({
                seed: factor * (recipe[seed] - value)
                for seed, value in rows[row]['avg']['values'].items()
            })
    return np.array(list(max(found, key=len).values()))


def test_what_the_recipe_is_ahead_of():
    """The table as the committed values by seed give it."""
    stats = pytest.importorskip('scipy.stats')
    text = (REPO / 'docs/which.md').read_text()
    table = text.split('| the recipe is ahead of |')[1].split('\n\n')[0]
    rows = table.splitlines()[2:]
    assert len(rows) == 19
    for row in rows:
        _, title, *cells, _ = row.split('|')
        name = re.search('`(.*)`', title).group(1)
        numbers = []
        for data, cell in zip(('potholes', 'floods', 'urban_trees', 'scenes'),
                              cells):
            lead = lead_over(data, name)
            if not len(lead):
                assert not cell.strip(), (row, data)
                continue
            numbers.append(len(lead))
            mean, low, high = lead.mean(), *stats.t.interval(
                0.95, len(lead) - 1, lead.mean(), stats.sem(lead))
            bold = '**' if low * high > 0 else ''
            assert cell.strip() == (
                f'{bold}{mean:+.1f}{bold} [{low:+.1f}, {high:+.1f}]')
        if set(numbers) != {6}:
            assert re.findall(r'\d+', title)[-4:] == list(map(str, numbers))


class TestModelIndex:

    @pytest.fixture(scope='class')
    def models(self):
        text = (REPO / 'model-index.yml').read_text()
        return yaml.safe_load(text)['Models']

    def test_it_has_every_config_once(self, models):
        configs = {
            str(path.relative_to(REPO))
            for path in (REPO / 'configs').rglob('*.py')
            if not {'_base_', 'studies'} & set(path.parts)
        }
        named = [model['Config'] for model in models]
        assert len(named) == len(set(named))
        assert set(named) == configs
        assert all(Path(model['Config']).stem == model['Name']
                   for model in models)

    def test_readme_of_each_folder_has_its_configs_and_results(self, models):
        for model in models:
            config = Path(model['Config'])
            readme = REPO / model['README']
            assert readme == REPO / config.parent / 'README.md'
            row, = (line for line in readme.read_text().splitlines()
                    if f'({config.name})' in line)
            if 'Results' not in model:
                assert 'not measured' in row
                continue
            numbers = list(map(float, re.findall(r'\d+(?:\.\d+)?', row)))
            for result in model['Results']:
                for value in result['Metrics'].values():
                    assert value in numbers, (model, row)
