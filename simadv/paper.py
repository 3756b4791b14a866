r"""Every number of the paper's Tables 1-5, as printed: accuracies in percent, times in seconds.

Liu, Khalil and Khreishah, "Using Single-Step Adversarial Training to Defend Iterative Adversarial Examples",
arXiv:2002.09632. Methods carry the code's names, attacks the paper's.
"""

#: The code's name of each method and its head in Table 3.
METHODS = {
    "vanilla": "Vanilla",
    "free": "Free-Adv (m = 10)",
    "atda": "ATDA",
    "sim": "SIM(10,20)-Adv",
    "bim": "BIM(10,30)-Adv",
    "madry": "Madry(10,30)-Adv",
}
DATASETS = ("mnist", "fmnist", "cifar10")

#: Largest change of a pixel in [0, 1] (Table 2).
EPSILON = {"mnist": 0.3, "fmnist": 0.2, "cifar10": 8 / 255}

#: The abstract's figures, all on CIFAR10, namely accuracy over ATDA, time under ATDA, time under BIM-Adv, and the
#: bound on the accuracy lost to BIM-Adv and Madry-Adv.
ABSTRACT = {"accuracy_gained": 35.67, "time_saved_atda": 19.14, "time_saved_bim": 76.03, "accuracy_lost": 3.78}


def _grid(columns: tuple, rows: dict) -> dict:
    r"""A table of rows of numbers as nested dictionaries: row, column, number."""
    return {row: dict(zip(columns, numbers, strict=True)) for row, numbers in rows.items()}


_AT_30 = ("FGSM", "BIM(30,30)", "Madry(30,30)")
_AT_40 = ("FGSM", "BIM(10,40)", "Madry(10,40)")
_ALL = tuple(METHODS)

#: Accuracy of ATDA by data set, learning rate, attack. The paper prints the rates as e^-3 and e^-4.
TABLE1 = {
    "mnist": _grid(_AT_30, {1e-3: (96.37, 73.97, 54.75), 1e-4: (98.03, 19.91, 1.23)}),
    "fmnist": _grid(_AT_30, {1e-3: (83.59, 49.41, 32.31), 1e-4: (84.03, 33.82, 11.37)}),
}

#: Settings of the evaluation by setting and data set.
TABLE2 = {
    "epsilon": EPSILON,
    "adversarial examples": dict.fromkeys(DATASETS, "FGSM, BIM and Madry examples"),
    "Single-Adv": dict.fromkeys(DATASETS, "Free-Adv and ATDA"),
    "Iter-Adv": dict.fromkeys(DATASETS, "BIM-Adv and Madry-Adv"),
    "network structure": {"mnist": "LeNet", "fmnist": "LeNet", "cifar10": "ResNet"},
    "metric": dict.fromkeys(DATASETS, "test accuracy and total training time"),
    "platform": dict.fromkeys(DATASETS, "CleverHans"),
}

#: Accuracy by data set, attack and method.
TABLE3 = {
    "mnist": _grid(
        _ALL,
        {
            "Original": (98.84, 98.72, 97.55, 99.00, 99.01, 99.01),
            "FGSM": (4.46, 95.94, 96.37, 96.57, 96.56, 97.03),
            "BIM(10,40)": (0.94, 1.56, 42.34, 92.55, 93.83, 94.04),
            "Madry(10,40)": (0.87, 0.70, 33.14, 92.89, 94.15, 94.29),
        },
    ),
    "fmnist": _grid(
        _ALL,
        {
            "Original": (91.64, 89.45, 84.64, 88.96, 86.19, 87.14),
            "FGSM": (6.07, 85.69, 83.59, 79.78, 78.34, 75.82),
            "BIM(10,40)": (5.96, 7.39, 25.81, 65.93, 69.71, 64.59),
            "Madry(10,40)": (4.55, 3.99, 23.79, 66.88, 70.58, 69.72),
        },
    ),
    "cifar10": _grid(
        _ALL,
        {
            "Original": (91.74, 73.96, 89.11, 77.21, 80.83, 81.08),
            "FGSM": (17.89, 48.96, 65.77, 54.12, 56.32, 56.08),
            "BIM(4,20)": (5.56, 38.68, 8.02, 43.69, 46.77, 46.73),
            "Madry(4,20)": (4.82, 38.63, 8.32, 43.78, 46.80, 46.74),
        },
    ),
}

#: Accuracy of SIM-Adv by data set, learning rate and attack.
TABLE4 = {
    "mnist": _grid(_AT_40, {1e-3: (93.87, 89.93, 90.11), 1e-4: (96.57, 92.55, 92.89)}),
    "fmnist": _grid(_AT_40, {1e-3: (74.68, 61.07, 61.46), 1e-4: (79.78, 65.93, 66.88)}),
}

#: Total training time in seconds on one RTX 2070 by method and data set.
TABLE5 = _grid(
    DATASETS,
    {
        "free": (234.75, 308.5, 25923.5),
        "atda": (319.56, 422.4, 33011.6),
        "sim": (293.22, 391.2, 26692.4),
        "bim": (866.76, 1159.2, 111372.6),
    },
)
