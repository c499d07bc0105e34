"""Annotating with several teachers: they are checked against each other, then read one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from spacy.cli._util import setup_gpu
from spacy.tokens import Doc
from wasabi import msg

from ..distill.copies import words_and_spaces
from ..distill.manifest import MANIFEST, TeacherInfo
from ..distill.offer import Offer, listed
from ..distill.store_folder import check_store
from ..distill.teachers import fingerprint, survey
from ..training.documents import Source, find_files, read_sources
from ..training.routes import Routes, Share, Shared
from .annotating import annotate, report
from .teachers import check_labelled, load_teacher

N_TEXTS = 100  # the first ones, on which tokenizers are compared
N_WORDS = 4  # of each tokenizer in a message

Choose = Callable[[Mapping[str, Offer]], Mapping[str, Sequence[str]]]
"""From what teachers can teach to the targets to write, both by the teachers' names."""


class _Met(NamedTuple):
    """What is known of a teacher that has been loaded once."""

    info: TeacherInfo
    offer: Offer
    tokens: list[list[str]]
    """How it cuts up the first texts; each token with the space that follows it."""


def annotate_each(
    teachers: Mapping[str, str],
    documents: Sequence[Path | str] | Routes,
    output: Path,
    *,
    choose: Choose,
    gpu_id: int = -1,
    beam_width: int | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    **settings: Any,
) -> None:
    """Write a store for each of several teachers, named after them, and say so.

    teachers: paths or packages by name.
    documents: those that each teacher reads, or how they divide them.
    choose: which of their targets are written. beam_width, labels: see `load_teacher`. settings:
        see `annotate`.

    Raises ValueError as `annotate`, and before anything is read if a document has no teacher, a
    teacher no document, a teacher or its store cannot be used, and if an ensemble has the same
    pipeline twice or cuts up texts in different ways. The teachers are in memory one at a time, and
    so are loaded twice.
    """
    if (output / MANIFEST).exists():
        raise ValueError(
            f"The folder {output} is the store of one teacher, and several need a folder with a "
            "store for each. Give another folder."
        )
    if isinstance(documents, Routes):
        _report_routes(documents)
    setup_gpu(gpu_id)
    routed = isinstance(documents, Routes)
    files = documents.files if isinstance(documents, Routes) else find_files(documents)
    texts = [] if settings.get("tokenizer") is not None else _first_texts(files)
    met: dict[str, _Met] = {}
    for name, path in teachers.items():
        with _naming(name, path):
            nlp = load_teacher(path, beam_width, labels)
            tokens = [_tokens_of(source.make_doc(nlp)) for source in texts]
            met[name] = _Met(fingerprint(nlp), survey(nlp).offer, tokens)
            del nlp  # one teacher in memory at a time
    check_labelled(labels or {}, list(chain(*(one.offer.components for one in met.values()))))
    if not routed:
        _check_different(met)
    _check_tokens(met, texts, routed=routed)
    components = choose({name: one.offer for name, one in met.items()})
    for name, path in teachers.items():
        with _naming(name, path):
            replace = settings.get("force", False)
            check_store(output / name, met[name].info, components[name], replace=replace)
    for name, path in teachers.items():
        nlp = load_teacher(path, beam_width, labels)
        msg.good(f"Loaded the teacher {path} ({name})")
        share = Share(documents, name) if isinstance(documents, Routes) else documents
        chosen = components[name]
        report(annotate(nlp, share, output / name, components=chosen, **settings))
        del nlp


def choose_named(
    offers: Mapping[str, Offer], names: Sequence[str] | None, *, some: bool
) -> dict[str, list[str]]:
    """Of each teacher the targets of some names, or all.

    some: whether a teacher need not have all of the names, but one, and each name a teacher.

    Raises ValueError, naming the teacher, as `Offer.choose`.
    """
    for name in names or () if some else ():
        if not any(offer.targets_of(name) for offer in offers.values()):
            able = "; ".join(f"{who}: {listed(offer.targets)}" for who, offer in offers.items())
            refusals = {who: offer.refusals.get(name) for who, offer in offers.items()}
            why = "; ".join(f"of {who}, {reason}" for who, reason in refusals.items() if reason)
            because = f" ({why})" if why else ""
            raise ValueError(f"No teacher teaches '{name}'{because}. They teach {able}.")
    chosen = {}
    for teacher, offer in offers.items():
        wanted = [name for name in names or () if offer.targets_of(name)] if some else names
        with _naming(teacher):
            chosen[teacher] = offer.choose(wanted or names)
    return chosen


@contextmanager
def _naming(name: str, path: str | None = None) -> Iterator[None]:
    """Let errors name the teacher that they are about."""
    try:
        yield
    except ValueError as error:
        where = f" ({path})" if path else ""
        raise ValueError(f"The teacher '{name}'{where}: {error}") from error


def _report_routes(routes: Routes) -> None:
    """Say which documents are left out, and which are of two teachers."""
    counts = routes.counts
    if left_out := counts.of_teachers[None]:
        msg.warn(f"{left_out:,} documents are of no teacher and are left out")
    if counts.shared is None:
        return
    found = (
        f"{counts.n_shared:,} documents have the text of one of another teacher's (the first is "
        f"{counts.shared})"
    )
    if routes.shared == Shared.both:
        msg.warn(
            f"{found}. A student learns from both only if its reader has ensemble = true, and "
            "refuses them otherwise: let one teacher read them with --shared first, or none with "
            "--shared skip"
        )
    else:
        reader = "the first one's teacher" if routes.shared == Shared.first else "nobody"
        msg.warn(f"{found}: {reader} reads such texts")


def _check_different(met: Mapping[str, _Met]) -> None:
    """Raise ValueError if two teachers of an ensemble are one."""
    known: dict[TeacherInfo, str] = {}
    for name, one in met.items():
        other = known.setdefault(one.info, name)
        if other != name:
            raise ValueError(
                f"The teachers '{other}' and '{name}' are the same pipeline, {one.info}, which "
                "would count once in an ensemble. Give it once; target_weights says how much it "
                "counts."
            )


def _first_texts(files: Sequence[Path]) -> list[Source]:
    """The first documents that are texts, not tokens."""
    texts = [file for file in files if file.suffix != ".spacy"]
    return list(islice(read_sources(texts), N_TEXTS))


def _tokens_of(doc: Doc) -> list[str]:
    words, spaces = words_and_spaces(doc)
    return [word + " " * space for word, space in zip(words, spaces)]


def _check_tokens(met: Mapping[str, _Met], texts: Sequence[Source], *, routed: bool) -> None:
    """Raise ValueError if teachers of an ensemble do not cut up the first texts in one way; warn if
    those that divide the documents do not."""
    (first, of_first), *others = met.items()
    for name, one in others:
        for source, ours, theirs in zip(texts, of_first.tokens, one.tokens):
            if ours == theirs:
                continue
            pairs = enumerate(zip_longest(ours, theirs))
            start = next(number for number, (our, their) in pairs if our != their)
            found = (
                f"The teachers '{first}' and '{name}' cut up texts in different ways. In {source}, "
                f"'{first}' has the tokens {_shown(ours, start)}, '{name}' {_shown(theirs, start)}"
            )
            if not routed:
                raise ValueError(
                    f"{found}. No student can learn from both: name what tokenises for all of "
                    "them, as the student does, with --tokenizer (a language or a pipeline)."
                )
            msg.warn(
                f"{found}. A student has one tokenizer, and finds no targets where its tokens are "
                "others: name it with --tokenizer"
            )
            return


def _shown(tokens: Sequence[str], start: int) -> str:
    """Some tokens from a place on."""
    words = [token.strip() or repr(token) for token in tokens[start : start + N_WORDS]]
    more = " …" if len(tokens) > start + N_WORDS else ""
    return f"“{' | '.join(words)}{more}”"
