"""A study file of every family, and of what else a study file can say."""

TEXTS = {
    "cnn": "name: x\nfamily: cnn\ndata: digits\nsampler: random\nseed: 5",
    "text_cnn": "name: x\nfamily: text_cnn\ndata: {path: a.csv, vectors: v.txt, max_length: 9}",
    "rnn": "name: x\nfamily: rnn\ndata: {path: a.csv}",
    "transformer": "name: x\nfamily: transformer\ndata: {path: a.csv, vectors: v.txt}",
    "bow": "name: x\nfamily: bow\ndata: {path: a.csv}",
    "tfidf": "name: x\nfamily: tfidf\ndata: {path: a.csv}",
    "a table": "name: x\nfamily: bow\n"
    "data: {path: a.csv.gz, encoding: utf-16, separator: '|', min_class: 5}",
    "a table with tabs": 'name: x\nfamily: bow\ndata: {path: a.csv, separator: "\\t"}',
    "damaged images": "name: x\nfamily: cnn\ndata: {source: images, path: a, skip_damaged: true}",
    "pretrained": "name: x\nfamily: pretrained\ndata: {path: a.csv}\n"
    "search: {checkpoint: [/a, b/c]}",
    "seq2seq": "name: x\nfamily: seq2seq\ndata: {source: cmudict, examples: 99}",
    "word2vec": "name: x\nfamily: word2vec\ndata: lee\nbudget: {epochs: 9}",
    "fasttext": "name: x\nfamily: fasttext\ndata: {path: a.csv, word_pairs: p.tsv}",
    "objectives": "name: x\nfamily: cnn\ndata: digits\nobjective: {metric: [accuracy, latency]}",
    "other conditions": "name: x\nfamily: cnn\ndata: digits\nobjective: {metric: log_loss}\n"
    "search: {dropout: {when: {batch_norm: false}}, depth: {high: 9}, kernel: 5, momentum: 0.9}\n"
    "training: {early_stop: 3}\nbudget: {epochs: 4}\nforbidden: [{optimizer: adam}]",
    "command": "name: x\nfamily: command\ncommand: [a, 3, '{u}{{}}', '{arguments}']\nfolder: d\n"
    "objective: {metric: accuracy}\nsearch: {u: {low: 0, high: 1}}",
    "function": "name: x\nfamily: function\nfunction: a.b:c\nfolder: d\nbudget: {epochs: 5}\n"
    "objective: {metric: m, direction: minimize}\n"
    "search: {u: {low: 0, high: 1}, v.w: [a, b], x-y: {low: 1, high: 9, when: {v.w: a}}}",
    "a long name": f"name: {'n' * 100}\nfamily: cnn\ndata: digits\nresources: {{threads: 2}}",
}
