"""What `--help` says of each verb: (what it does, what it reads, writes and costs, an example)."""

from __future__ import annotations

HELP: dict[str, tuple[str, dict[str, str], str]] = {
    "init": (
        "Write a small domain to start from: problems, a rule book, outputs of two models, and configs that use them.",
        {
            "reads": "nothing",
            "writes": "problems.csv, rules.md, outputs.jsonl, outputs_held_out.jsonl, config.yaml, teacher.yaml",
            "costs": "nothing; a file that is there already is never overwritten",
        },
        "realm init my_domain",
    ),
    "import": (
        "Take problems and the answers that models already wrote to them, mark each one right or wrong, and say what they are "
        "worth.",
        {
            "reads": "JSON Lines, CSV (either with .gz), Parquet; hub:owner/name:split for a data set of the hub",
            "writes": "RUN/config.yaml, RUN/problems.jsonl, RUN/routes.jsonl, RUN/bank.json",
            "costs": "seconds to minutes; no calls of a model",
        },
        'realm import gpt-4o=a.jsonl.gz llama=b.jsonl.gz --id "{table} {question}" --outputs answers --kind set',
    ),
    "data": (
        "Write the domain's problems, split and with their gold answers.",
        {
            "reads": "the config; the files of domain.path where domain.kind is files",
            "writes": "RUN/problems.jsonl, and RUN/rules.md where the domain has a rule book",
            "costs": "seconds",
        },
        "realm data configs/demo.yaml --set domain.settings.sizes.train=500",
    ),
    "routes": (
        "Collect routes for each problem, outside chains of thought, and mark each one right or wrong.",
        {
            "reads": "RUN/problems.jsonl; routes.files where routes.kind is import, the guide where it is collect",
            "writes": "RUN/routes.jsonl, RUN/bank.json; RUN/teacher.sqlite with every reply of a teacher",
            "costs": "seconds; with teachers what they charge, which --dry-run estimates and routes.budget_usd caps",
        },
        "realm routes configs/demo.yaml",
    ),
    "distill": (
        "Teach the model the teacher's checked chains, without the rules in the prompt (TRL's SFTTrainer).",
        {
            "reads": "RUN/problems.jsonl, RUN/routes.jsonl, the model that the config names",
            "writes": "RUN/sft.jsonl, RUN/distilled/",
            "costs": "fine-tuning: minutes for the bundled model on a CPU, a GPU for a real one",
        },
        "realm distill configs/demo.yaml --set distill.sft.learning_rate=1e-3",
    ),
    "train": (
        "Train with reinforcement learning on prompts whose routes fade out (TRL's GRPOTrainer).",
        {
            "reads": "RUN/problems.jsonl, RUN/routes.jsonl, RUN/distilled/ (the config's model where recipe is zero)",
            "writes": "RUN/model/, RUN/fade.jsonl, RUN/headroom.json, RUN/rollouts/",
            "costs": "the longest stage: minutes for the bundled model on a CPU, GPU hours for a real one",
        },
        "realm train configs/demo.yaml --set train.fade.kind=cosine",
    ),
    "eval": (
        "Measure the models and the routes themselves, with and without routes in the prompt, and print the table. "
        "Without a model, the routes alone, on all problems.",
        {
            "reads": "RUN/problems.jsonl, RUN/routes.jsonl, the model, RUN/distilled/ and RUN/model/ where they are there",
            "writes": "RUN/results.json, RUN/answers.jsonl",
            "costs": "one answer per model, mode and problem",
        },
        "realm eval configs/demo.yaml --set evaluate.limit.test=200",
    ),
    "report": (
        "Put the results, the fade curve and side-by-side transcripts on one page that opens offline.",
        {
            "reads": "RUN/bank.json, results.json, answers.jsonl; fade.jsonl and headroom.json where they are there",
            "writes": "RUN/report.html",
            "costs": "seconds",
        },
        "realm report configs/demo.yaml",
    ),
    "run": (
        "Do all stages in order, each skipped when its settings and inputs have not changed, and print the results.",
        {
            "reads": "the config and what it names",
            "writes": "all files of the run folder",
            "costs": "what the stages cost; --dry-run shows which of them are left",
        },
        "realm run configs/demo.yaml",
    ),
    "compare": (
        "Compare methods over several seeds at equal budgets, and test the claims.",
        {
            "reads": "the config, its section `compare`; docs/compare.md says which methods there are",
            "writes": "RUN/cells/METHOD-SEED/, RUN/results.json, RUN/report.html",
            "costs": "seeds x methods trainings; done cells are kept, and the time left is printed after each",
        },
        "realm compare configs/compare.yaml --set compare.seeds=2",
    ),
    "ask": (
        "Ask a model one question, by itself or with its own samples as routes.",
        {
            "reads": "a run folder (its model/), a model folder in it, or any other model",
            "writes": "nothing; the answer goes to standard output",
            "costs": "one completion, and K more with --self-routes K",
        },
        'realm ask runs/demo "A gold member had a scan. ..." --self-routes 4',
    ),
}
