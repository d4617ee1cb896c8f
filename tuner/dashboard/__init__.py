"""The dashboard: pages, a REST API and live updates over what `commands` can do.

    app.py       puts it together; server.py starts it, and decides where it may listen
    context.py   what every route shares: database, settings
    guards.py    what every request passes: headers, Host, Origin, size
    access.py    who asks, and what they may do
    views.py     templates and how values look in them; assets.py the static files
    pages/       a file a page: routes that fill a template
    api/         the same as JSON under /api/v1

A tab of a study's page is an entry of `pages.study.TABS` and a template `templates/study/NAME.html`
that extends `study/page.html` (blocks `tab`, `scripts`, `styles`); its data comes from a router
under `/api/v1/studies/{study_id}/…` and its scripts lie in `static/NAME/`. Studies are addressed by
their ids: a name may hold anything.
"""
