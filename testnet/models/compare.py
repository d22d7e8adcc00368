"""Compares predictions of total time: compare.py TRACE.csv OURS.csv [EMA.csv]

The libraries learn total time from the same rows, with their default settings: once from the first 60 % of the trace
(frozen), and once again every 500 rows from all that came before (rolling), which is what ours does. All are judged on
the last 40 %. Each gets every column that ours gets, the hour and the time of the bytes on the line; the peer and the
kind as one column for each value.
"""
import sys
import warnings

import lightgbm
import numpy as np
import xgboost
from sklearn.ensemble import GradientBoostingRegressor

warnings.filterwarnings("ignore")
EVERY = 500
MODELS = {
    "scikit-learn GradientBoostingRegressor": lambda: GradientBoostingRegressor(random_state=0),
    "LightGBM": lambda: lightgbm.LGBMRegressor(verbose=-1, random_state=0, n_jobs=1),
    "XGBoost": lambda: xgboost.XGBRegressor(random_state=0, n_jobs=1),
}


def read(path):
    with open(path, encoding="utf-8") as file:
        names = file.readline().strip().split(",")
        rows = [line.strip().split(",") for line in file]
    return {name: np.array([row[i] for row in rows]) for i, name in enumerate(names)}


def features(trace):
    text = ("kind", "ended", "peer")
    outcome = ("total_ms", "queue_ms", "execution_ms", "at_ms")
    columns = [trace[name].astype(float) for name in trace if name not in text + outcome]
    columns += [(trace[name] == value).astype(float) for name in ("kind", "peer") for value in np.unique(trace[name])]
    hours = trace["at_ms"].astype(float) / 3.6e6
    columns += [np.sin(hours / 24 * 2 * np.pi), np.cos(hours / 24 * 2 * np.pi), hours // 24 % 7]
    columns += [trace["bytes"].astype(float) / trace["bytes_per_ms"].astype(float)]
    return np.stack(columns, axis=1)


def fit(make, x, y, log):
    model = make().fit(x, np.log(y) if log else y)
    return lambda rows: np.exp(model.predict(rows)) if log else np.maximum(model.predict(rows), 1.0)


def main():
    trace = read(sys.argv[1])
    x, y = features(trace), trace["total_ms"].astype(float)
    good = trace["ended"] == "success"
    at = trace["at_ms"].astype(float)
    split = int(len(y) * 0.6)
    test = np.arange(split, len(y))[good[split:]]
    print(f"{len(y)} rows, {good.sum()} successes; judged on {len(test)} of the last {len(y) - split}")
    best = [np.inf, np.inf]

    def report(name, predicted, theirs=True):
        errors = [np.abs(predicted - y[test]).mean(), np.abs(np.log(predicted / y[test])).mean()]
        if theirs:
            best[:] = [min(a, b) for a, b in zip(best, errors)]
        print(f"{name:<66} {errors[0]:9.2f} ms {errors[1]:9.4f}")
        return errors

    print(f"{'mean absolute error of total time':<66} {'':>12} {'of log':>9}")
    for name, make in MODELS.items():
        for log in (False, True):
            label = f"{name}, {'log of ' if log else ''}total time"
            rows = np.arange(split)[good[:split]]
            report(label + ", frozen", fit(make, x[rows], y[rows], log)(x[test]))
            rolling = np.zeros(len(y))
            for start in range(split, len(y), EVERY):
                # Only what had come back by then.
                known = np.arange(start)[good[:start] & (at[:start] + y[:start] <= at[start])]
                block = slice(start, min(start + EVERY, len(y)))
                rolling[block] = fit(make, x[known], y[known], log)(x[block])
            report(label + ", rolling", rolling[test])
    if len(sys.argv) > 3:
        report("exponential moving average of log(time / cost)", read(sys.argv[3])["total_ms"].astype(float)[test], False)
    ours = read(sys.argv[2])
    errors = report("ours", ours["total_ms"].astype(float)[test], False)
    print(f"ours over the best of theirs: {errors[0] / best[0]:.3f} of the error, {errors[1] / best[1]:.3f} of that of log")
    low, high, p95 = (ours[name].astype(float)[test] for name in ("low_ms", "high_ms", "p95_ms"))
    inside = (y[test] >= low) & (y[test] <= high)
    windows = np.sort([chunk.mean() for chunk in np.array_split(inside, max(len(inside) // 50, 1))])
    worst = windows[: max(len(windows) // 20, 1)].mean()
    print(f"95 % interval: coverage {inside.mean():.3f}, worst twentieth of windows of 50 {worst:.3f}, "
          f"median width {np.median((high - low) / y[test]):.2f} of the time; under p95 {(y[test] <= p95).mean():.3f}")
    risk, failed = ours["risk"].astype(float)[split:], (~good[split:]).astype(float)
    print(f"failures: Brier score {((risk - failed) ** 2).mean():.4f}, of the mean rate {failed.var():.4f}")


main()
