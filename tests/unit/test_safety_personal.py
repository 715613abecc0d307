"""Personal data and secrets: what is found, what is left alone, and what the excerpt gives away."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.safety import Finding, scan
from engine.safety.account import IBAN_LENGTHS, luhn


def found(text: str, category: str) -> list[str]:
    return [text[item.start : item.end] for item in scan(text, where="prompt") if item.category == category]


def only(text: str) -> Finding:
    (finding,) = scan(text, where="prompt")
    return finding


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Write to anna.k+shop@mail.example.org, please.", "anna.k+shop@mail.example.org"),
        ("<müller@bücher.example>", "müller@bücher.example"),
        ("mail: a@b.co.", "a@b.co"),
        ("reach jo (at) host (dot) org now", "jo (at) host (dot) org"),
        ("jo[at]host.org", "jo[at]host.org"),
    ],
)
def test_email_addresses_are_found_with_their_span(text: str, address: str) -> None:
    assert found(text, "pii.email") == [address]


@pytest.mark.parametrize(
    "text", ["meet at noon", "pkg@1.2.3", "@handle", "a @ b", "git@github.com:x/y.git", "x@localhost", "@@@", "a@b"]
)
def test_what_only_resembles_an_email_address_is_left_alone(text: str) -> None:
    assert found(text, "pii.email") == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+49 30 1234567", "+49 30 1234567"),
        ("+447700900123 is it", "+447700900123"),
        ("(579) 888-3058", "(579) 888-3058"),
        ("at 201-948-1927.", "201-948-1927"),
        ("930.167.3943", "930.167.3943"),
        ("001-518-640-0854", "001-518-640-0854"),
        ("+46 (0)8 928 571 38", "+46 (0)8 928 571 38"),
        ("06 12 34 56 78", "06 12 34 56 78"),
        ("030/12345678", "030/12345678"),
        ("my phone: 4155550123", "4155550123"),
        ("Call 467 3395 today", "467 3395"),
    ],
)
def test_phone_numbers_are_found_in_common_forms(text: str, number: str) -> None:
    assert found(text, "pii.phone") == [number]


@pytest.mark.parametrize(
    "text",
    [
        "order 4155550123",
        "order number 201-948-1927",
        "Your order #100-200-3000 has shipped",
        "on 2026-11-22 12:30",
        "on 22.11.2026",
        "from 10.0.12.255",
        "1 000 000 EUR",
        "3.14159265",
        "2019 2020 2021",
        "project Osprey starts with discount 4821",
        "id 123456789",
        "SSN 123-45-6789",
        "2026-11-22T10:30:00",
        "12345678901234567890",
    ],
)
def test_dates_orders_addresses_and_amounts_are_no_phone_numbers(text: str) -> None:
    assert found(text, "pii.phone") == []


@pytest.mark.parametrize(
    "number",
    ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "3782 822463 10005", "6011000000000004"],
)
def test_cards_are_found_with_and_without_separators(number: str) -> None:
    assert found(f"card {number}, thanks", "pii.card") == [number]
    assert found(f"{number}", "pii.card") == [number]


def test_a_card_needs_its_check_digit_and_an_issuer() -> None:
    assert found("4111111111111112", "pii.card") == []
    assert found("9111111111111111", "pii.card") == []  # no issuer
    assert found("41111111111111111111111", "pii.card") == []  # longer than any card
    assert found("1.4111111111111111", "pii.card") == []
    assert found("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "pii.card") == []


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789", min_size=15, max_size=15))
def test_the_luhn_digit_is_the_only_one_of_ten_that_fits(digits: str) -> None:
    assert sum(luhn(digits + str(last)) for last in range(10)) == 1


def make_iban(country: str, fill: str) -> str:
    body = (fill * 40)[: IBAN_LENGTHS[country] - 4]
    number = int("".join(str(int(char, 36)) for char in body + country + "00"))
    return f"{country}{98 - number % 97:02}{body}"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(IBAN_LENGTHS)), st.text("0123456789", min_size=4, max_size=9))
def test_every_country_s_ibans_are_found_plain_and_grouped_and_fail_when_a_digit_is_off(
    country: str, fill: str
) -> None:
    iban = make_iban(country, fill)
    grouped = " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
    for text in (iban, iban.lower(), grouped):
        assert found(f"to {text}, please", "pii.iban") == [text]
    wrong = iban[:-1] + str((int(iban[-1]) + 1) % 10)
    assert found(wrong, "pii.iban") == []
    assert found(iban + "7", "pii.iban") == []


def test_hosts_are_found_and_versions_and_loopback_left_alone() -> None:
    assert found("from 86.121.97.248.", "pii.ip") == ["86.121.97.248"]
    assert found("at 2001:db8::8a2e:370:7334 now", "pii.ip") == ["2001:db8::8a2e:370:7334"]
    for text in (
        "127.0.0.1",
        "::1",
        "version 1.2.3.4",
        "v1.2.3.4",
        "256.1.1.1",
        "1.2.3.4.5",
        "12:30:45",
        "std::vector",
        "a::b",
    ):
        assert found(text, "pii.ip") == []


SECRETS = {
    "aws": "AKIA" + "Q7" * 8,
    "github": "ghp_" + "a1B2" * 9,
    "sk": "sk-" + "proj-a1B2c3D4e5F6g7H8i9J0",
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0In0" + "." + "c2lnbmF0dXJlc2lnbmF0dXJl",
    "pem": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "url-password": "anna:hunter22@",
}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_key_formats_are_found_and_the_excerpt_does_not_give_them_away(name: str) -> None:
    value = SECRETS[name]
    text = f"db://{value}host" if name == "url-password" else f"use {value} here"
    finding = only(text)
    assert (finding.category, finding.severity, finding.detector) == ("secret", "high", f"secret.{name}")
    assert text[finding.start : finding.end] == value
    if name != "pem":
        assert value[4:-4] not in finding.excerpt


@pytest.mark.parametrize(
    "text", ["sk-" + "a-very-nice-hyphenated-name-here", "AKIA", "ghp_short", "db://user:<password>@host", "eyJ.eyJ.x"]
)
def test_placeholders_and_names_are_no_secrets(text: str) -> None:
    assert found(text, "secret") == []


@pytest.mark.parametrize(
    "value", ["anna.kowalska@example.org", "4111111111111111", "+49 30 1234567", make_iban("DE", "3704")]
)
def test_the_excerpt_of_personal_data_shows_only_its_ends(value: str) -> None:
    finding = only(value)
    assert value[3:-3] not in finding.excerpt
    assert "•" in finding.excerpt
    assert finding.excerpt.startswith(value[:1])


def test_one_piece_of_personal_data_has_one_category() -> None:
    (finding,) = scan("card 4111 1111 1111 1111 phone", where="prompt")
    assert finding.category == "pii.card"
