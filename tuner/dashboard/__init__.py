"""The dashboard: pages, a REST API and live updates on top of `commands`.

    app.py            puts it together; server.py starts it and checks where it may listen
    board.py          the state that all routes share; dependencies.py what they take as arguments
    local_secret.py   opens a dashboard without accounts
    security/         what every request passes: headers, Host, Origin, size, roles, the audit log
    rendering/        templates, static files, small charts
    launch/           the form, the check of a study file, uploads
    plots/            a study's figures and table, and the stream of changes
    pages/            one file per page: routes that fill a template
    api/              the same as JSON under /api/v1

A tab of a study's page is an entry in `pages.study.page.TABS` and a template
`templates/study/NAME.html` that extends `study/page.html` (blocks `tab`, `scripts`, `styles`); its
data comes from a router under `/api/v1/studies/{study_id}/…` and its scripts are in `static/NAME/`.
Studies are addressed by id, because a name may contain anything.
"""
