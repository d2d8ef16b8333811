/* Which page answers a word.  The search counts words, so that the longest pages would come first; here the page
   that is about a word is put before those that mention it. */
const ABOUT = {
  "00-overview": "chooser summary overview cite",
  "01-quickstart": "install start quickstart",
  "02-scenes": "scene scenes leakage split splits disjoint random pavia salinas wavelengths classes data sensor",
  "03-baselines": "baseline baselines svm rf mlr mlp lstm cnn1d cnn2d cnn3d forest",
  "04-pruning": "pruning prune l1 thinet slimming sfp filter filters criterion strategy strategies",
  "05-quantization": "quantization int8 integer integers rounding qat static dynamic onnx engine latency",
  "06-offline": "offline teacher student hinton fitnets simkd ca-mkd camkd attention congruence dkd distillation cosine",
  "07-online": "online dml one cl-ilr okddip peers branches gates",
  "08-self": "self tf-kd cs-kd ps-kd ddgsd",
  "09-landuse": "landuse land-use images rsscn7 vgg16 mobilenetv2 mobilenet ghostnet g-ghostnet",
  "10-paper-versus-ours": "paper table tables reproduce reproduction",
  "11-what-to-believe": "significance interval intervals rank ranks ranking seeds statistics holm",
  "12-errata": "errata error errors wrong contradiction contradictions",
  "13-write-your-own": "own extend fork loss template decorator",
  "14-models": "model models download zoo card checksum",
  "15-damaged-benchmark": "damage damaged bytes newline repair",
  "16-compact": "onboard satellite compact small smallest tiny memory kilobytes payload lens liunet perceptron",
  "17-explorer": "explorer rows filter csv",
  "18-maps": "map maps swipe qgis geotiff confidence",
  "19-machines": "dask slurm cluster scheduler worker workers machines parallel",
  "21-unseen": "pavia centre transfer generalise generalize declared preregistered unseen held out",
  "22-labels": "labels label labelled annotation samples few",
  "20-rivals": "rivals cloln ls2cm filter filters field peers",
  "24-claims": "claims claim evidence sure certain",
  reexecute: "papermill re-execute jupyter command hsilib_data",
  design: "design architecture rooms arrow",
  glossary: "kappa oa aa f1 accuracy payload macs epoch seed interval",
  api: "api function class",
};
const asked = (new URLSearchParams(location.search).get("q") || "").toLowerCase().split(/\s+/);

var Scorer = {
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  score: ([page, , , , score]) => {
    const name = page.split("/").pop();
    const about = (ABOUT[name] || "").split(" ");
    return score + 100 * asked.filter((word) => about.includes(word)).length - (name === "api" ? 10 : 0);
  },
};
