"""Jinja templates to pages. base.html.j2 beside this file holds the style that pages share."""

from pathlib import Path
from typing import Any

import jinja2

_SHARED = Path(__file__).parent


def render(template: Path, **values: Any) -> str:
    """The page of a template, which may extend base.html.j2. Text is escaped unless Markup."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, _SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(values)
