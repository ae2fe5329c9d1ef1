"Packaging. All metadata comes from settings.ini; pyproject.toml only says which fields are left to this file."
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

here = Path(__file__).parent
ini = ConfigParser(delimiters=['='])
ini.read(here/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

spdx = {'apache2': 'Apache-2.0'}
statuses = {'1': '1 - Planning', '2': '2 - Pre-Alpha', '3': '3 - Alpha', '4': '4 - Beta', '5': '5 - Production/Stable'}
lib = cfg['lib_name']

setup(
    version=cfg['version'],
    description=cfg['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=cfg['author'], author_email=cfg['author_email'],
    license_expression=spdx[cfg['license']],
    keywords=cfg['keywords'].split(),
    classifiers=[f'Development Status :: {statuses[cfg["status"]]}', 'Intended Audience :: Education',
                 'Programming Language :: Python :: 3', f'Natural Language :: {cfg["language"]}'],
    install_requires=cfg['requirements'].split(),
    extras_require={field.removesuffix('_requirements'): reqs.split()
                    for field, reqs in cfg.items() if field.endswith('_requirements')},
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f'{lib}={lib}._modidx:d']},
    # The photos lie beside the code in a checkout, but inside the package in a wheel, so that both can be used anywhere.
    packages=[lib, f'{lib}.photos'],
    package_dir={lib: cfg['lib_path'], f'{lib}.photos': 'data/photos'},
    package_data={lib: ['weights/*.safetensors', 'weights/*.json', 'weights/*.md', 'page/*', 'canvas/*'],
                  f'{lib}.photos': ['*/*.jpg', '*.csv', '*.md']},
    include_package_data=False,
    zip_safe=False,
)
