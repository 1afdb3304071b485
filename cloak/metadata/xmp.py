"""XMP: which properties stay under a policy. Source: XMP specification part 1 (ISO 16684-1)."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import DefusedXMLParser

from cloak.metadata import fields
from cloak.metadata.fields import MAX_TEXT, MAX_XMP, Policy, holds_picture
from cloak.metadata.xmp_names import PREFIXES, RDF, RIGHTS, STAYS, X, hidden_kind, kind_of

DAMAGED = "damaged XMP"
MAX_NODES = 200_000
"""Elements, attributes, comments and namespaces of a packet that is read."""
MAX_DEPTH = 64
"""How deep elements of a packet that is read lie in each other."""

BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
END = b'<?xpacket end="w"?>'
XML = "{http://www.w3.org/XML/1998/namespace}"
PREFIX = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)
DATE = re.compile(r"[\d:T.,+\-Z /]{4,40}", re.ASCII)


class _Builder(ElementTree.TreeBuilder):
    """A tree of bounded size; remembers what prefixes the packet used."""

    def __init__(self) -> None:
        super().__init__()
        self.prefixes: dict[str, str] = {}
        self.nodes = self.depth = 0

    def _count(self, nodes: int = 1) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES or self.depth > MAX_DEPTH:
            raise ValueError("too large a tree")

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self.depth += 1
        self._count(1 + len(attrs))
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self.depth -= 1
        return super().end(tag)

    def start_ns(self, prefix: str, uri: str) -> None:
        self._count()
        self.prefixes.setdefault(uri or "", prefix or "")

    def comment(self, text: str | None, /) -> Element:
        self._count()
        return Element("comment")

    def pi(self, target: str, text: str | None = None, /) -> Element:
        self._count()
        return Element(target)


def filter_xmp(packet: bytes, policy: Policy) -> tuple[bytes, tuple[str, ...]]:
    """What stays of an XMP packet, and what was removed in plain words; ``packet`` may be any bytes.

    Entities and document types are refused; so is what exceeds ``MAX_XMP``, ``MAX_NODES``, ``MAX_DEPTH``.
    """
    stripped = packet.strip(b"\0 \t\r\n")
    if not stripped:
        return b"", ()
    try:
        if len(packet) > MAX_XMP:
            raise ValueError("too large")
        builder = _Builder()
        parser = DefusedXMLParser(target=builder, forbid_dtd=True)
        parser.feed(stripped)
        root = parser.close()
        removed: dict[str, None] = {}
        rdf = root if root.tag == RDF + "RDF" else root.find(RDF + "RDF")
        if rdf is None:
            raise ValueError("no RDF")
        _prune(root, removed)
        if policy != "keep":
            root = _rebuilt(rdf, policy, removed)
        return _packet(root, builder.prefixes), tuple(removed)
    except (ValueError, SyntaxError, LookupError, RecursionError, AssertionError):
        return b"", (DAMAGED,)


def _rebuilt(rdf: Element, policy: Policy, removed: dict[str, None]) -> Element:
    """A new packet of what the default policy keeps; says what it does not."""
    root = Element(X + "xmpmeta")
    description = ElementTree.SubElement(ElementTree.SubElement(root, RDF + "RDF"), RDF + "Description")
    description.set(RDF + "about", "")
    for name, value in _properties(rdf):
        if policy == "default" and _stays(name, value):
            if isinstance(value, str):
                description.set(name, value)
            else:
                description.append(_bare(value))
        elif kind_of(name):
            removed[kind_of(name)] = None
    return root


def _properties(rdf: Element) -> Iterator[tuple[str, str | Element]]:
    """Names and values of all properties: attributes and children of each description."""
    for description in rdf:
        for name, text in description.attrib.items():
            if not name.startswith((RDF, XML)):
                yield name, text
        for child in description:
            yield child.tag, child


def _bare(element: Element) -> Element:
    """The same without attributes that are properties of their own."""
    kept = {XML + "lang", RDF + "parseType", *([RDF + "resource"] if element.tag.startswith(RIGHTS) else [])}
    for inner in element.iter():
        for name in set(inner.attrib) - kept:
            del inner.attrib[name]
    return element


def _stays(name: str, value: str | Element) -> bool:
    if name.startswith(RIGHTS) or STAYS.get(name) == fields.COPYRIGHT:
        return isinstance(value, str) or sum(len(text) for text in value.itertext()) <= MAX_TEXT
    if name not in STAYS:
        return False
    texts = [value] if isinstance(value, str) else [text for text in value.itertext() if text.strip()]
    return all(DATE.fullmatch(text.strip()) for text in texts)


def _prune(root: Element, removed: dict[str, None]) -> None:
    """Take out what goes under every policy, at any depth, and text between elements."""
    pending = [root]
    while pending:
        element = pending.pop()
        element.tail = None
        if len(element):
            element.text = None
        for name, text in list(element.attrib.items()):
            kind = _pruned_kind(name, text)
            if kind is not None:
                del element.attrib[name]
                removed.update({kind: None} if kind else {})
        staying = []
        for child in element:
            kind = _pruned_kind(child.tag, "" if len(child) else child.text or "")
            if kind is None:
                staying.append(child)
            else:
                removed.update({kind: None} if kind else {})
        element[:] = staying
        pending.extend(staying)


def _pruned_kind(name: str, text: str) -> str | None:
    kind = hidden_kind(name)
    if kind is not None:
        return kind
    if holds_picture(text.encode("utf-8", "replace")):
        return fields.THUMBNAIL
    return fields.LARGE if len(text) > MAX_TEXT else None


def _packet(root: Element, prefixes: dict[str, str]) -> bytes:
    """The packet in UTF-8; empty where no property is left."""
    rdf = root if root.tag == RDF + "RDF" else root.find(RDF + "RDF")
    if rdf is None or not any(True for _ in _properties(rdf)):
        return b""
    names: dict[str, str] = {}
    for element in root.iter():
        element.tag = _qualified(element.tag, names, prefixes)
        attributes = {_qualified(name, names, prefixes): text for name, text in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update(attributes)
    for uri, prefix in names.items():
        root.set(f"xmlns:{prefix}", uri)
    return BEGIN + ElementTree.tostring(root, encoding="unicode").encode() + END


def _qualified(name: str, names: dict[str, str], prefixes: dict[str, str]) -> str:
    """``{uri}local`` -> ``prefix:local``; new prefixes go into ``names``."""
    if not name.startswith("{"):
        return name
    if name.startswith(XML):
        return "xml:" + name[len(XML) :]
    uri, _, local = name[1:].rpartition("}")
    if uri not in names:
        wanted = PREFIXES.get(uri) or prefixes.get(uri, "")
        usable = PREFIX.fullmatch(wanted) and not wanted.lower().startswith(("xml", "ns"))
        if not usable or wanted in names.values() or wanted in set(PREFIXES.values()) - {PREFIXES.get(uri)}:
            wanted = f"ns{len(names)}"
        names[uri] = wanted
    return f"{names[uri]}:{local}"
