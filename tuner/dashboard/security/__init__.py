"""What every request passes: guards, connection limits, authentication, the audit log."""
