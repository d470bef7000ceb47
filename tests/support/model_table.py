"""providers/models.yaml: its text, and the table that it is read to."""

from process import ROOT

from providers.model_table import ModelTable

FACTS = (ROOT / "providers" / "models.yaml").read_text(encoding="utf-8")
MODELS = ModelTable.parse(FACTS)
