"""Pages of the site that are files of the repository's root, so that nothing is written twice."""
import pathlib

from mkdocs.structure.files import File

PAGES = {'README.md': 'index.md', 'CHANGELOG.md': 'changelog.md',
         'CONTRIBUTING.md': 'contributing.md'}


def on_files(files, config):
  root = pathlib.Path(config.config_file_path).parent
  for name, page in PAGES.items():
    text = (root / name).read_text(encoding='utf-8').replace('](docs/', '](')
    for other, its_page in PAGES.items():
      text = text.replace(f']({other}', f']({its_page}')
    files.append(File.generated(config, page, content=text))
  return files
