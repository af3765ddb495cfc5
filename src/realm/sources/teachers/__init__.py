"""Teachers: behind an endpoint, on this machine, from a file, or a domain's own expert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.core.folder import hash_path
from realm.sources.teachers.replay import ReplayTeacher, ScriptedTeacher

if TYPE_CHECKING:
    from realm.config.teachers import TeacherSettings
    from realm.run import Run
    from realm.sources import Teacher


def load_teacher(settings: TeacherSettings, run: Run) -> Teacher:
    """Return the teacher. Each kind's libraries are imported only where it is used."""
    config, limits = run.config, run.config.routes
    assert limits.kind == "collect"
    if settings.kind == "api":
        from realm.sources.teachers.api import ApiTeacher

        return ApiTeacher(settings, seconds=limits.request_seconds, attempts=limits.attempts)
    if settings.kind == "local":
        from realm.sources.teachers.local import LocalTeacher

        folder = config.resolve(settings.model)
        if folder.is_dir():
            return LocalTeacher(settings, model=str(folder), version=hash_path(folder))
        return LocalTeacher(settings, model=settings.model, version=settings.model)
    if settings.kind == "replay":
        return ReplayTeacher(settings, config.resolve(settings.path))
    return ScriptedTeacher(settings, run.domain, config.seed)
