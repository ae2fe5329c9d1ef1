"Sphinx, as .ci/website.py calls it: notebooks with their stored outputs, and pages made of docments"

import configparser
from pathlib import Path
from docutils import nodes
from docutils.utils.math import latex2mathml

here = Path(__file__).parent
settings = configparser.ConfigParser(delimiters=['='])
settings.read(here.parent.parent / 'settings.ini', encoding='utf-8')
settings = settings['DEFAULT']

project = settings['title']
author = settings['author']
copyright = settings['copyright']
version = release = settings['version']
language = 'en'

extensions = ['myst_nb']
nb_execution_mode = 'off'
nb_merge_streams = True
nb_output_stderr = 'remove'
nb_render_markdown_format = 'myst'
nb_ipywidgets_js = {}  # they would come from other hosts
nb_code_prompt_show = 'Show the code ({type})'
nb_code_prompt_hide = 'Hide the code'
myst_enable_extensions = ['dollarmath', 'html_image']
myst_heading_anchors = 3
exclude_patterns = ['extra', 'images']

html_theme = 'pydata_sphinx_theme'
html_title = project
html_baseurl = settings['doc_url']
html_static_path = [str(here / 'static')]
templates_path = [str(here / 'templates')]
html_css_files = ['colorize.css']
html_js_files = [('colorize.js', {'defer': 'defer'})]
html_favicon = str(here / 'static' / 'icon.svg')
html_logo = html_favicon
html_extra_path = [str(here.parent.parent / '_proc/source/extra')]
html_show_sourcelink = False
html_copy_source = False
html_use_index = False
html_domain_indices = False
html_sidebars = {'**': ['lessons.html']}
html_context = {'default_mode': 'auto'}
html_theme_options = {
    'logo': {'text': project, 'alt_text': f'{project}, to the front page'},
    'navbar_center': ['links.html'],
    'navbar_persistent': ['search-button-field'],
    'navbar_end': ['theme-switcher', 'navbar-icon-links'],
    'github_url': settings['git_url'],
    'secondary_sidebar_items': ['page-toc'],
    'footer_start': ['copyright'],
    'footer_end': ['sphinx-version'],
    'show_toc_level': 2,
    'back_to_top_button': False,
    'pygments_light_style': 'a11y-high-contrast-light',
    'pygments_dark_style': 'a11y-high-contrast-dark',
}


def formula(translator, node, block):
    "One formula as MathML, which browsers draw themselves: no script, no font from elsewhere"
    text = node.astext()
    translator.body.append(latex2mathml.tex2mathml(text, as_block=block))


def visit_math(translator, node):
    formula(translator, node, False)
    raise nodes.SkipNode


def visit_math_block(translator, node):
    translator.body.append('<div class="formula">')
    formula(translator, node, True)
    translator.body.append('</div>\n')
    raise nodes.SkipNode


def setup(app):
    "Register the way in which formulas are drawn"
    app.add_html_math_renderer('mathml', (visit_math, None), (visit_math_block, None))
    app.config.html_math_renderer = 'mathml'
