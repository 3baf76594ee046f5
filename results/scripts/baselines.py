"""What simple classifiers of pixels reach: the nearest neighbour, and logistic regression.

    python -m results.scripts.baselines DATASET [DATASET …]

DATASET is that of train.py, with a test part. Pixels are divided by 255; both classifiers are those of scikit-learn,
with C = 0.1 for the regression and everything else as it is. Prints the accuracy on the test images.
"""

import sys

from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import datasets


def main() -> None:
    for name in sys.argv[1:]:
        data = datasets.load(name)
        train = data.train_images.reshape(len(data.train_images), -1) / 255
        test = data.test_images.reshape(len(data.test_images), -1) / 255
        for classifier in (KNeighborsClassifier(1), LogisticRegression(C=0.1, max_iter=1000)):
            accuracy = classifier.fit(train, data.train_labels).score(test, data.test_labels)
            print(f"{name}: {type(classifier).__name__} {100 * accuracy:.2f} %", flush=True)


if __name__ == "__main__":
    main()
