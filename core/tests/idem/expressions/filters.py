"""The filters that Jinja2 does not have, as docs/EXPRESSIONS.md defines them."""

import datetime
import re


def topic(text):
    text = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:249]
    return "_" * max(1, len(text)) if text in ("", ".", "..") else text


def strftime(time, form):
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=time)
    return moment.strftime(form)


def flags(ignorecase, multiline):
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def groups(found):
    if found is None:
        return None
    return list(found.groups()) or [found[0]]


def regex_search(text, pattern, ignorecase=False, multiline=False):
    return groups(re.search(pattern, text, flags(ignorecase, multiline)))


def regex_match(text, pattern, ignorecase=False, multiline=False):
    return groups(re.match(pattern, text, flags(ignorecase, multiline)))


def regex_replace(text, pattern, replacement, ignorecase=False, multiline=False):
    return re.sub(pattern, replacement, text, flags=flags(ignorecase, multiline))


def names(keys):
    return {name for key in keys for name in ([key] if isinstance(key, str) else key)}


def walked(value, key_of, text_of):
    """The value with other items and texts, at any depth; `key_of` says what stands for an item, as a list of none or one."""
    if isinstance(value, dict):
        return {
            key: other
            for key, item in value.items()
            for other in key_of(key, lambda item=item: walked(item, key_of, text_of))
        }
    if isinstance(value, (list, tuple)):
        return [walked(item, key_of, text_of) for item in value]
    return text_of(value) if isinstance(value, str) else value


def same(value):
    return value


def without(value, *keys):
    return walked(value, lambda key, item: [] if key in names(keys) else [item()], same)


def only(value, *keys):
    return {key: item for key, item in value.items() if key in names(keys)}


def mask(value, *keys, **options):
    # `with` is a word of Python.
    other = options.get("with", "***")
    return walked(value, lambda key, item: [other if key in names(keys) else item()], same)


def shorten(value, length, end="..."):
    def cut(text):
        return text if len(text) <= length else text[:length] + end

    return walked(value, lambda _, item: [item()], cut)


def flatten(value, separator="."):
    flat = {}

    def look(path, item):
        pairs = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        if pairs:
            for key, below in pairs:
                look([*path, str(key)], below)
        else:
            flat[separator.join(path)] = item

    for key, item in value.items():
        look([str(key)], item)
    return flat


def rename(value, renamed=None, **others):
    others |= renamed or {}
    return {others.get(key, key): item for key, item in value.items()}


FILTERS = {
    filter.__name__: filter
    for filter in (topic, strftime, regex_search, regex_match, regex_replace, without, only, mask, shorten, flatten, rename)
}
