"""Cards in sets that share no person, company, number, mail or address, with planted canaries."""

from tf_sg2.cards.split.deal import Deal
from tf_sg2.cards.split.sets import write_split

__all__ = ["Deal", "write_split"]
