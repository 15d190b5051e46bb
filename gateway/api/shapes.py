"""The JSON that comes in and goes out. The OpenAPI document is made of these classes.

What a class cannot say (a pattern that must match the whole text, a valid IP address) is checked in ``intake``; here
it is told for the document only.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.verification.codes import ALPHABETS, MAX_LENGTH, MOST_DIGITS
from gateway.verification.request import MAX_CODE_LENGTH, MIN_TTL, Mode

#: Entries of ``params`` and of ``bind``, and characters of each.
MAX_PARAMS = 20
MAX_PARAM = 200


def _text(description: str, example: str | None = None, **schema: Any) -> Meta:
    return Meta(
        description=description, examples=None if example is None else [example], extra_json_schema=schema or None
    )


#: Items of a batch.
MAX_ITEMS = 1000

#: An RFC 3339 time in UTC with milliseconds and ``Z``.
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Params = Annotated[
    dict[str, Annotated[str, Meta(max_length=MAX_PARAM)]],
    Meta(
        max_length=MAX_PARAMS,
        description="Values for the service's templates, by name: letters, digits and underscores.",
        extra_json_schema={"propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_]{0,63}$"}},
    ),
]


Bind = Annotated[
    dict[str, Annotated[str, Meta(max_length=MAX_PARAM)]],
    Meta(
        max_length=MAX_PARAMS,
        description="What the code is bound to, by name: a check must bring the same. session is one that it ends with.",
        examples=[{"session": "s-91", "amount": "12.00 EUR"}],
        extra_json_schema={"propertyNames": {"pattern": "^[A-Za-z][A-Za-z0-9_]{0,63}$"}},
    ),
]


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A body that is refused where it holds anything unknown."""


class CodeWish(Request, frozen=True):
    """What the code should be like. A request may tighten its service's policy, never loosen it."""

    length: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_CODE_LENGTH,
                description=f"Characters, from the policy's length on; up to {MOST_DIGITS} digits.",
            ),
        ]
        | None
    ) = None
    alphabet: (
        Annotated[
            str,
            _text(
                "The policy's alphabet, or one that has every character of it.",
                enum=list(ALPHABETS),
            ),
        ]
        | None
    ) = None
    value: (
        Annotated[str, Meta(max_length=MAX_LENGTH, description="The service's own code, where its policy allows that.")]
        | None
    ) = None


class ClientTold(Request, frozen=True):
    """What the service knows of the person's device."""

    ip: Annotated[str, Meta(max_length=45, description="The person's IP address.")] | None = None
    reference: (
        Annotated[str, Meta(min_length=1, max_length=200, description="The service's own name for the device.")] | None
    ) = None


class CreateVerification(Request, frozen=True):
    """Asks for a code to be sent."""

    to: Annotated[
        str | dict[str, str],
        Meta(
            description="Addresses by kind (phone, email, telegram), or one e-mail address or E.164 number as a string.",
            examples=[{"phone": "+4915112345678", "email": "ann@example.org"}, "+4915112345678"],
        ),
    ]
    channels: (
        Annotated[
            list[Annotated[str, Meta(max_length=64)]],
            Meta(
                min_length=1,
                max_length=10,
                description="The route: configured channels in order; the service's own unless given.",
                extra_json_schema={"uniqueItems": True},
            ),
        ]
        | None
    ) = None
    purpose: Annotated[
        str,
        _text(
            "What the code is for; it picks the template. Lower-case letters, digits, dashes and underscores.",
            pattern="^[a-z][a-z0-9_-]{0,63}$",
        ),
    ] = "verification"
    locale: (
        Annotated[str, Meta(max_length=35, description="The person's language (BCP 47); the service's unless given.")]
        | None
    ) = None
    params: Params | None = None
    bind: Bind | None = None
    client: ClientTold | None = None
    code: CodeWish | None = None
    ttl: Annotated[int, Meta(ge=MIN_TTL, le=600, description="Seconds the code lives, up to the policy's.")] | None = (
        None
    )
    mode: (
        Annotated[
            str,
            _text(
                "outbound (the same as none) sends the person a code. inbound sends nothing: the person opens a link, "
                "or types a challenge, in the bot.",
                enum=list(get_args(Mode)),
            ),
        ]
        | None
    ) = None


class CreateBatch(Request, frozen=True):
    """Asks for many codes. What is wrong with one item is answered in that item's place."""

    items: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MAX_ITEMS,
            description="Each as for a single verification.",
            extra_json_schema={"items": {"$ref": "#/components/schemas/CreateVerification"}},
        ),
    ]


class CheckCode(Request, frozen=True):
    """Gives what the person typed."""

    code: Annotated[
        str,
        Meta(
            min_length=1, max_length=MAX_LENGTH, description="What the person typed; spaces and dashes do not matter."
        ),
    ]
    bind: Bind | None = None


class Resend(Request, frozen=True):
    """Asks for the code to be sent once more."""

    channel: (
        Annotated[
            str, Meta(max_length=64, description="A channel of the route to go on from; the latest unless given.")
        ]
        | None
    ) = None


class Cancel(Request, frozen=True):
    """Nothing more to say."""


class CreateSubscriber(Request, frozen=True):
    """Asks for a link by which a person opens the bot."""

    reference: Annotated[str, Meta(description="The service's own name for the person, 1 to 128 characters.")]
    phone: Annotated[str, Meta(description="A number the person is to prove in the chat (E.164).")] | None = None


class AttemptShape(Struct, frozen=True):
    """One call to a provider."""

    number: int
    started_at: Time
    finished_at: Time | None
    outcome: str | None
    reason: str | None
    provider_id: str | None
    provider_code: str | None


class MessageShape(Struct, frozen=True):
    """One notice on one channel."""

    id: str
    channel: str
    status: str
    attempts: list[AttemptShape] | UnsetType = UNSET


class EventShape(Struct, frozen=True, omit_defaults=True):
    """One line of the timeline."""

    id: str
    at: Time
    event: str
    message_id: str | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    provider_code: str | UnsetType = UNSET
    recipient: str | UnsetType = UNSET
    milliseconds: float | UnsetType = UNSET


class VerificationShape(Struct, frozen=True):
    """A verification as its service sees it."""

    id: str
    status: str
    service: str
    purpose: str
    locale: str
    to: Annotated[dict[str, str], Meta(description="Masked addresses by kind.")]
    channel: Annotated[str | None, Meta(description="The latest message's channel.")]
    next_channels: list[str]
    created_at: Time
    expires_at: Time
    resend_at: Annotated[Time, Meta(description="When resend is allowed.")]
    checks_left: int
    sends_left: Annotated[
        int | None,
        Meta(description="Sends left to its recipient now; null where nothing limits them, or nothing is sent."),
    ]
    link: Annotated[
        str | None,
        Meta(description="Where the person opens the bot, if that is needed; shown once, when it is made."),
    ]
    challenge: Annotated[
        str | None,
        Meta(description="With mode inbound: what the person types to the bot; shown once, when it is made."),
    ]
    page: Annotated[str | None, Meta(description="Not available yet: null.")]
    messages: list[MessageShape]
    events: list[EventShape] | UnsetType = UNSET


class VerificationPage(Struct, frozen=True):
    """Some verifications, newest first."""

    items: list[VerificationShape]
    next_cursor: Annotated[str | None, Meta(description="What to send as cursor for more; null at the end.")]


class ItemShape(Struct, frozen=True):
    """What became of one item of a batch."""

    status: Annotated[int, Meta(description="The HTTP status that it would have had by itself: 201, or a problem's.")]
    body: Annotated[
        dict[str, Any],
        Meta(
            description="The verification, or the problem.",
            extra_json_schema={
                "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Verification", "Problem")]
            },
        ),
    ]
    retry_after: Annotated[int | UnsetType, Meta(description="With 429 and 503: whole seconds; obeying it works.")] = (
        UNSET
    )


class BatchShape(Struct, frozen=True):
    """What became of a batch."""

    items: Annotated[list[ItemShape], Meta(description="As many as were asked for, in their order.")]


class Approved(Struct, frozen=True):
    """The code was right, and is used up."""

    id: str
    status: str
    proof: Annotated[str, Meta(description="A JWT that tells of it, valid for 5 minutes.")]


class EndedSession(Struct, frozen=True):
    """What ended with a session."""

    canceled: Annotated[int, Meta(description="How many verifications were canceled.")]


class PublicKeyShape(Struct, frozen=True):
    """A key that proofs are signed with (RFC 8037)."""

    kty: str
    crv: str
    x: Annotated[str, Meta(description="The key, 32 bytes in base64url.")]
    kid: Annotated[str, Meta(description="Its name in a proof's header.")]
    alg: str
    use: str


class KeySet(Struct, frozen=True):
    """The keys that proofs are, or soon will be, signed with (RFC 7517)."""

    keys: list[PublicKeyShape]


class SubscriberShape(Struct, frozen=True):
    """A person who opened, or was asked to open, a chat with the bot."""

    id: str
    reference: str
    status: str
    link: Annotated[str | None, Meta(description="Shown once: when it is made.")]
    qr: Annotated[str | None, Meta(description="The link as an SVG image in a data: URL.")]
    expires_at: Annotated[Time | None, Meta(description="When the link ends.")]
    display_name: Annotated[str | None, Meta(description="The name the linked person shows in the chat.")]
    created_at: Time


class HealthShape(Struct, frozen=True):
    """Whether requests should come to this node."""

    status: str
    database: bool
    migrations: bool
    draining: bool
    channels: Annotated[
        dict[str, str],
        Meta(description="How each is: ok, open, probing, ramping, stopped or paused; it decides nothing."),
    ]


class AliveShape(Struct, frozen=True):
    """The process answers."""

    status: str


class FieldErrorShape(Struct, frozen=True):
    """One fault of one field."""

    pointer: Annotated[str, Meta(description="A JSON pointer into the body, or ?name for a query parameter.")]
    detail: str


class ProblemShape(Struct, frozen=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: Annotated[str, Meta(description="Stable; decide by this one.")]
    errors: list[FieldErrorShape] | UnsetType = UNSET
    checks_left: Annotated[int | UnsetType, Meta(description="With wrong_code.")] = UNSET
    limit: Annotated[str | UnsetType, Meta(description="With 429: which limit it was.")] = UNSET
    verification: Annotated[str | UnsetType, Meta(description="With cooldown: the pending verification.")] = UNSET
