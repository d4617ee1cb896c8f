"""The dashboard: pages, a REST API and live updates over what `commands` can do.

    app.py       puts it together; server.py starts it, and decides where it may listen
    context.py   what every route shares: database, settings
    security/    what every request passes (headers, Host, Origin, size), who asks, what is noted
    views.py     templates and how values look in them; assets.py the static files
    pages/       a file a page: routes that fill a template
    api/         the same as JSON under /api/v1

A tab of a study's page is an entry of `pages.study.page.TABS` and a template
`templates/study/NAME.html` that extends `study/page.html` (blocks `tab`, `scripts`, `styles`); its
data comes from a router under `/api/v1/studies/{study_id}/…` and its scripts lie in `static/NAME/`.
Studies are addressed by their ids: a name may hold anything.
"""
