"""train.py MODEL SEED OUTPUT: train one classifier on handwritten digits, and write its score."""

import json
import sys
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

CLASSES = {"forest": RandomForestClassifier, "knn": KNeighborsClassifier, "tree": DecisionTreeClassifier}

settings, seed, output = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
digits, labels = load_digits(return_X_y=True)
train, test, train_labels, test_labels = train_test_split(digits[:600], labels[:600], random_state=seed)
model = CLASSES[settings.stem](**json.loads(settings.read_text()))
model.fit(train, train_labels)
output.parent.mkdir(exist_ok=True)
output.write_text(json.dumps({"score": round(model.score(test, test_labels), 3)}))
