"""Stub."""


def rows(s, done):
    return []


def claims(s, done):
    return []


def verdicts(s, done):
    return []


def draw(s, done, folder):
    raise SystemExit("parts done")
