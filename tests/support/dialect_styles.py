"""What a dialect's description leaves open to its clients: every way in which they may play."""

import itertools

import dialect_client as c


def file_styles(family):
    """Every way in which clients of the family send a file: parameters of `Style`."""
    content, open_to_clients = family.dialect.content, (False, True)
    if family.packets:
        encryptions = c.Encryption if family.packets.encryption == "BY_SIZE" else (c.Style.encryption,)
        swapped = open_to_clients if family.packets.numbers_may_be_swapped else (False,)
        for encryption, swapped, equal, whole in itertools.product(
                encryptions, swapped, open_to_clients, open_to_clients):
            yield {"encryption": encryption, "swapped_numbers": swapped, "equal_packets": equal,
                   "whole_original_size": whole}
        return
    for blocks in open_to_clients if family.dialect.padding.requests == "BY_CLIENT" else (False,):
        yield {"blocks": blocks}
        if content.content_size_counts == "CIPHERTEXT_OR_PLAINTEXT":
            yield {"blocks": blocks, "content_size": c.ContentSize.OF_PLAINTEXT}
        if content.length != "BY_PAYLOAD_SIZE":
            yield {"blocks": blocks, "counting": c.Counting.NOT_COUNTED}
            yield {"blocks": blocks, "counting": c.Counting.CUT_AT_ZERO_BYTE}
    if content.blocks and not family.id_in_front:
        for full in open_to_clients:
            yield {"blocks": True, "encrypted_blocks": True, "full_blocks": full}


def versions(family):
    """Header versions."""
    recognition = family.dialect.recognition
    return recognition.versions or [version for version in (1, 2, 3) if version not in recognition.not_versions]


def notices(family):
    """What they may do after a retry notice on the same connection."""
    waits, goes_on = (c.Notice.WAITS_FOR_ANSWER,), (c.Notice.SENDS_AT_ONCE,)
    return {"IF_WAITED_FOR": waits + goes_on, "AT_ONCE": waits, "NOT_AT_ALL": goes_on}[
        family.dialect.conversation.retry_answer]


def key_forms(family):
    """Forms of a public key that its field takes."""
    field = next(field for field in family.dialect.request_of["PUBLIC_KEY"].fields if field.kind == "PUBLIC_KEY")
    return tuple(c.KeyForm) if field.text == "BINARY" and field.width else (c.KeyForm.SPKI, c.KeyForm.PKCS1_ZERO_PADDED)


def key_payloads(family):
    """What may precede the key."""
    if family.dialect.request_of["PUBLIC_KEY"].fields[0].may_be_shorter:
        return c.KeyPayload.NAME_FIELD, c.KeyPayload.SHORT_NAME
    return (c.KeyPayload.NAME_FIELD,)


def zero_ids(family, connections):
    """Requests in which the id may be zeros."""
    if family.dialect.conversation.zero_id == "NOBODY":
        return (c.ZeroIds.NEVER,)
    one_connection = connections is c.Connections.ONE_PER_RUN and family.dialect.conversation.end_after_answer == "STAYS_OPEN"
    return tuple(c.ZeroIds) if one_connection else (c.ZeroIds.NEVER, c.ZeroIds.IN_KEY_REQUESTS)


def styles(family, choose):
    """File styles, checksums, connections and notices in every combination; the rest by chance, as `choose` picks."""
    version_matters = any(rule.versions for rule in family.dialect.checksums)
    for files, checksum, connections, notice in itertools.product(
            file_styles(family), c.Checksum, c.Connections, notices(family)):
        for version in versions(family) if version_matters else [choose(versions(family))]:
            yield c.Style(
                family, version=version, checksum=checksum, connections=connections, notice=notice,
                mismatches=choose((0, 0, 1, 2, 3, 4)), body_size=choose((1008, 4096, 65536)),
                key_form=choose(key_forms(family)), key_payload=choose(key_payloads(family)),
                garbage=choose((False, True)), garbage_id=choose((False, True)), last_codes=choose((False, True)),
                zero_ids=choose(zero_ids(family, connections)), **files)
