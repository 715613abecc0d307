"""The fictional shop Harbor & Pine in its two eras: policy, prices and countries, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FIRST_NAMES = (
    "Maya", "Jonas", "Aino", "Luca", "Freja", "Tomas", "Clara", "Emil", "Nadia", "Oskar", "Ines", "Piotr",
    "Sara", "Hugo", "Leila", "Anton", "Greta", "Mateo", "Yuki", "Omar",
)  # fmt: skip
STREETS = (
    "Mill Lane",
    "Harbor Street",
    "Oak Avenue",
    "Station Road",
    "Park Row",
    "Church Hill",
    "River Walk",
    "Pine Close",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
STATES = ("packed", "shipped", "delayed", "at customs")


@dataclass(frozen=True, slots=True)
class Product:
    """What the shop says about one product: price in euros, warranty in years, and how to clean it."""

    price: int
    warranty: int
    care: str


PRODUCTS_A: Mapping[str, Product] = {
    "Skagen tent": Product(249, 5, "wipe it with a wet cloth"),
    "Fjord stove": Product(59, 3, "brush the burner"),
    "Tind down jacket": Product(189, 2, "wash it at 30 degrees"),
    "Birk backpack": Product(119, 5, "wash it by hand"),
    "Varde boots": Product(159, 2, "brush and wax them"),
    "Luna head torch": Product(39, 1, "wipe it with a dry cloth"),
    "Nord sleeping bag": Product(139, 3, "wash it at 30 degrees"),
    "Elv kayak paddle": Product(89, 4, "rinse it with fresh water"),
    "Moss rain jacket": Product(129, 3, "wash it at 40 degrees"),
    "Kvist trekking poles": Product(69, 4, "dry the joints"),
}
PRODUCTS_B: Mapping[str, Product] = {
    "Skagen tent": Product(279, 5, "wipe it with a wet cloth"),
    "Varde boots": Product(175, 3, "brush and wax them"),
    "Tind down jacket": Product(209, 4, "book our wash service"),
    "Lofoten e-bike": Product(1890, 6, "book a workshop slot"),
    "Brisk paddle board": Product(449, 3, "rinse it with fresh water"),
    "Sol power station": Product(329, 5, "keep it half charged"),
    "Vinter heated vest": Product(149, 2, "take the battery out first"),
    "Falk satellite pager": Product(219, 2, "update its firmware"),
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """How long a parcel takes, in days, and what it costs, in euros."""

    days: int
    cost: int


DELIVERY_A: Mapping[str, Delivery] = {
    "Germany": Delivery(2, 4),
    "France": Delivery(3, 6),
    "Norway": Delivery(5, 9),
    "Sweden": Delivery(4, 8),
    "Spain": Delivery(6, 7),
    "Italy": Delivery(5, 7),
    "Poland": Delivery(3, 5),
    "Denmark": Delivery(2, 5),
    "Finland": Delivery(6, 9),
    "Austria": Delivery(3, 4),
}
DELIVERY_B: Mapping[str, Delivery] = {
    "Germany": Delivery(1, 0),
    "France": Delivery(2, 3),
    "Norway": Delivery(7, 15),
    "Portugal": Delivery(4, 6),
    "Iceland": Delivery(9, 19),
    "Japan": Delivery(8, 29),
    "Canada": Delivery(7, 25),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """The wording of the policy in one era; the fields in braces are filled from the conversation."""

    returns: str
    refund: str
    cancel: str
    exchange: str
    address: str
    hours: str
    contact: str


ANSWERS_A = Answers(
    returns="You can return order {order} within 30 days. Print the label from your account.",
    refund="The refund for order {order} takes 5 working days.",
    cancel="Order {order} is cancelled. You will not be charged.",
    exchange="We exchange order {order} for free. The new parcel leaves in 2 days.",
    address="Order {order} now goes to {address}.",
    hours="We are open from Monday to Saturday, 9:00 to 18:00.",
    contact="You can call us at 0800 555 0142.",
)
ANSWERS_B = Answers(
    returns="You can return order {order} within 14 days. Bring it to a pick-up locker.",
    refund="The refund for order {order} is paid as store credit today.",
    cancel="Order {order} is cancelled. You will not be charged.",
    exchange="Order {order} cannot be exchanged. Please return it and order again.",
    address="Order {order} now goes to {address}.",
    hours="We are open every day, 8:00 to 22:00.",
    contact="Please write to us in the Harbor & Pine app.",
)
