"""The Content-Security-Policy of an answer, worded as jupyter_server's tests compare it."""

from __future__ import annotations


def content_security_policy(base_url: str, *more: str) -> str:
    """What every answer says, and `more`: `sandbox allow-scripts` for user's files, for example (S9)."""
    report = f"report-uri {base_url}api/security/csp-report"
    return "; ".join(("frame-ancestors 'self'", report, *more))
