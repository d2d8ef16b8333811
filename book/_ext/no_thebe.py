"""Drop the live-code scripts that Jupyter Book 1.x adds to every page: unused here, declared twice (a console
error), and the only thing on a page that names an outside address."""


def drop(app, pagename, templatename, context, doctree):
    def is_thebe(script):
        file, attributes = getattr(script, "filename", script), getattr(script, "attributes", "")
        return "thebe" in str(file).lower() or "THEBE" in str(attributes)

    context["script_files"] = [script for script in context.get("script_files", []) if not is_thebe(script)]


def setup(app):
    app.connect("html-page-context", drop, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
