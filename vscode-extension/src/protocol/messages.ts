// Made by scripts/generate.py from the Structs of dap_server/protocol, not by hand.
//
// What has a default may be left out, on either side: the debugger leaves out what equals its default.

/** A token that could have been chosen. */
export interface Alternative {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
  /** After all logits processors. */
  probability?: number;
}

/** `llm/attention`: where the heads of a layer look, in the step of a frame. */
export interface AttentionArguments {
  frameId: number;
  /** Another step of the same sequence than the frame's. */
  step?: number;
  /** Index of a layer, or path of a module; the layer of the frame when missing. */
  layer?: number | string;
  /** All when missing. */
  heads?: number[];
  /** Positions that look; all of the step when missing. */
  queries?: Positions;
  /** Positions that are looked at; all when missing. */
  keys?: Positions;
  /**
   * How many numbers may come, all heads together: tiles that are larger are down-sampled by maximum. Default: 65536.
   */
  maxCells?: number;
  /** Default: "float16". */
  dtype?: "float16" | "float32" | "uint8";
  /**
   * A key that the tiles are without, such as a sink: the first token, the key that each head gives most to over the
   * queries asked for, or a position. The rest of every row is made to sum to 1 again; nothing else changes.
   */
  leaveOut?: "first" | "highest" | number;
}

/** Queries or keys of a tile. */
export interface AttentionAxis {
  start: number;
  end: number;
  /** How many there are, asked for or not. */
  size: number;
  /** The token at every cell; of a cell that stands for several the first one. */
  labels: string[];
  /** How many positions a cell stands for. Default: 1. */
  block?: number;
  /**
   * Whether `start` and `end` are positions of a text; else keys are something else, such as blocks of tokens. Default:
   * true.
   */
  arePositions?: boolean;
}

/**
 * One head over the queries asked for; masked ones do not count.
 *
 * `kind` is that of the highest of `scores`: `previous token`, `duplicate`, `induction` or `sink`, `mixed` when none
 * is high. Cross attention has neither.
 */
export interface AttentionHead {
  head: number;
  /** In nats. */
  entropy: number;
  /** Share of the first token. */
  first: number;
  /** Queries × keys; NaN in rows whose every key is masked. */
  tile: Tile;
  kind?: string;
  scores?: Record<string, number>;
  /** How many positions back it looks. */
  distance?: number;
  /** Position of the key that the tile is without; its column is 0, and a row that had nothing else NaN. */
  leftOut?: number;
  /** Mean share that goes to no key at all, where the model has learnt such a sink; rows sum to 1 without it. */
  learntSink?: number;
  /** That share, by query. */
  sinks?: Tile;
}

/** One call of attention. */
export interface AttentionOfModule {
  /** Of the module that made it. */
  path: string;
  kind: "cross" | "encoder" | "self";
  /** What ran: `eager`, `sdpa`, `flash_attention_2` … */
  kernel: string;
  /** How it was heard of: `AttentionInterface`, `scaled_dot_product_attention`, `softmax` … */
  source: string;
  headCount: number;
  queries: AttentionAxis;
  keys: AttentionAxis;
  heads: AttentionHead[];
  /** Position of the first key of the sequence: those before it are padding. Default: 0. */
  start?: number;
  /** How many keys a query may see, itself among them. */
  window?: number;
}

/**
 * Base of everything on the wire: camelCase there, snake_case here, and None is left out.
 *
 * Subclasses name what is required first; they are made with keywords.
 */
export interface AttentionResponseBody {
  step: number;
  /** The module that was looked into. */
  path: string;
  /** Several in a decoder that also looks at an encoder; none where no attention can be heard of. */
  calls: AttentionOfModule[];
}

/** `llm/attribution`: what each part of the model added to a logit at the position that a step chooses from. */
export interface AttributionArguments {
  frameId: number;
  /** An id, or a text, quoted or not; the token that the step chooses when missing. */
  token?: number | string;
  /** In the sequence, from its end when negative: of an earlier choice, or one inside the prompt. */
  position?: number;
  /** Whether attention is split into its heads. Default: true. */
  heads?: boolean;
}

/** One term of a logit. */
export interface AttributionPart {
  /** Path of a module, `head 3` of the attention that it is a part of, `embedding`. */
  name: string;
  kind: "attention" | "between" | "bias" | "embedding" | "head" | "layer" | "module";
  value?: number;
  /** What `parts` do not explain of it. */
  rest?: number;
  parts?: AttributionPart[];
  /** Why there are no `parts`. */
  note?: string;
}

/** The answer to `llm/attribution`: `parts` and `remainder` sum to `logit`. */
export interface AttributionResponseBody {
  token: Token;
  position: number;
  /** Embedding, layers in their order, biases behind them. */
  parts: AttributionPart[];
  /** Before capping, if the model caps its logits. */
  logit?: number;
  /** As the model gave it. */
  given?: number;
  /** The sum of `parts`. */
  total?: number;
  /** What they do not explain: rounding. */
  remainder?: number;
}

/** One way that the run has gone. */
export interface Branch {
  id: number;
  name: string;
  isPresent: boolean;
  /** How many tokens it has chosen. */
  steps: number;
  /** From `forkStep` on; those before are the parent's. */
  tokens: BranchToken[];
  edits: EditInfo[];
  parent?: number;
  /** The first step in which it is not its parent. */
  forkStep?: number;
  /** What it begins with, of a chat the last message of the user; missing where no edit could be about that. */
  prompt?: string;
}

/** `llm/switchBranch`: goes on in another branch, where it was left. `llm/deleteBranch`: forgets it and its own. */
export interface BranchArguments {
  id: number;
  /** Default: 1. */
  threadId?: number;
}

/** One that the branch chose. */
export interface BranchToken {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
  /** With which it was chosen, after all logits processors; missing where it is not finite. */
  probability?: number;
}

/** `llm/branches`: the tree of branches. */
export interface BranchesArguments {
  /** Whose sequence's tokens are told. Default: 1. */
  threadId?: number;
}

/** The answer to `llm/branches`, and to those that change them. */
export interface BranchesResponseBody {
  branches: Branch[];
}

/** What became of a breakpoint that the client wanted. */
export interface Breakpoint {
  verified: boolean;
  /** Needed for `breakpoint` events and for `hit_breakpoint_ids`. */
  id?: number;
  /** Says why it is not verified. */
  message?: string;
  source?: Source;
  line?: number;
  column?: number;
  endLine?: number;
  endColumn?: number;
  instructionReference?: string;
  offset?: number;
  /** `pending` may be verified later, `failed` will not. */
  reason?: "failed" | "pending";
}

/** Of one breakpoint, measured in the present run. */
export interface BreakpointCost {
  /** As `setBreakpoints` and its like have answered it. */
  id: number;
  name: string;
  kind: "data" | "exception" | "function" | "instruction" | "line" | "python";
  /** How many modules, or places of token selection, it stands on. */
  places: number;
  /** Where the run passes it, or by a flag that is read once a step, after which the step runs again. */
  judged: "at once" | "once a step";
  /** Why it has to be judged at once; missing where that could wait. */
  why?: string;
  /** Default: 0. */
  evaluations?: number;
  /** Of the model's thread, so far. Default: 0.0. */
  seconds?: number;
  /** Seconds of a step in which it was judged; one that has run again is another. Default: 0.0. */
  perToken?: number;
  /** Of the time of a step, 0 to 1; missing before one is over. */
  share?: number;
}

/** `llm/breakpointCosts`. */
export interface BreakpointCostsArguments {
}

/** Of all breakpoints that can be hit. */
export interface BreakpointCostsResponseBody {
  breakpoints: BreakpointCost[];
  /** That a step takes, breakpoints and all, stops not counted; missing before one is over. */
  secondsPerToken?: number;
}

/** `llm/changeEdit`: switches an edit on or off, or puts another in its place. */
export interface ChangeEditArguments {
  id: number;
  enabled?: boolean;
  spec?: EditSpec;
}

/** What the content of a source hashes to. */
export interface Checksum {
  algorithm: "MD5" | "SHA1" | "SHA256" | "timestamp";
  checksum: string;
}

/** `llm/compareBranches`: two branches of the run, each run along its own text with its own edits. */
export interface CompareBranchesArguments {
  a: number;
  b: number;
  /** Default: 1. */
  threadId?: number;
}

/** The answer to `llm/compareBranches`. */
export interface CompareBranchesResponseBody {
  a: number;
  b: number;
  sequence: number;
  /** From the fork on, as far as both go. */
  steps: ComparedStep[];
  /** Paths; empty for what goes into the first one. */
  layers: string[];
  positions: ComparedPosition[];
  /** The first step that is run with other edits, or chose another token; missing where there is none. */
  fork?: number;
  /** The first step that chose another token; missing where no step that both have done did. */
  divergence?: number;
  /** Layers × positions: |b - a| / |a| of the residual stream. */
  movement?: Tile;
  /** Why there is no `movement`. */
  problem?: string;
}

/** A position of the texts that the steps since the fork work on. */
export interface ComparedPosition {
  position: number;
  /** Whether another token stands there. */
  differs: boolean;
}

/** One step of both. */
export interface ComparedStep {
  step: number;
  logits: Distance;
  /**
   * That was chosen, with its probability behind all logits processors; missing where the branch has not come so far.
   */
  a?: LikelyToken;
  b?: LikelyToken;
}

/** A proposal for what the user may type next. */
export interface CompletionItem {
  label: string;
  /** What is inserted, if it is not the label. */
  text?: string;
  sortText?: string;
  detail?: string;
  type?: "class" | "color" | "constructor" | "customcolor" | "enum" | "field" | "file" | "function" | "interface" | "keyword" | "method" | "module" | "property" | "reference" | "snippet" | "text" | "unit" | "value" | "variable";
  /** Where in the text of the request the proposal goes; `length` characters there are replaced. */
  start?: number;
  length?: number;
  selectionStart?: number;
  selectionLength?: number;
}

/** What the user has typed, and where the caret is. */
export interface CompletionsArguments {
  text: string;
  column: number;
  frameId?: number;
  line?: number;
}

/** What may come next. */
export interface CompletionsResponseBody {
  targets: CompletionItem[];
}

/** `llm/conditionCompletion`: what may stand at a column of a text. */
export interface ConditionCompletionArguments {
  text: string;
  /** Default: "condition". */
  kind?: "condition" | "hitCondition" | "logMessage";
  /** Of the map, with `line`. */
  uri?: string;
  /** From 0. */
  line?: number;
  /** Name of a function breakpoint: module path, glob, class or operation, with a prefix or without. Or a data id. */
  path?: string;
  /** Id of the filter of anomalies whose condition it is, such as `nonFinite`. */
  filter?: string;
  /** What the column or the prefix asks for; otherwise the names of the text decide. */
  phase?: "after" | "before";
  /** Default: 0. */
  column?: number;
}

/** One of them. */
export interface ConditionCompletionItem {
  label: string;
  /**
   * What it is: `integer`, `number`, `text`, `tensor`, `list`, `function`, `module`, `builtin`, `member`, `word`;
   * `threshold`, a whole condition: the filter's own, offered for an empty text.
   */
  kind: string;
  /** Of what it takes the place of. */
  start: number;
  end: number;
  /** Its signature. Default: "". */
  detail?: string;
  /** Default: "". */
  documentation?: string;
}

/** What may stand there. */
export interface ConditionCompletionResponse {
  items: ConditionCompletionItem[];
}

/** One thing that is wrong. */
export interface ConditionDiagnostic {
  start: number;
  end: number;
  message: string;
}

/** `llm/conditionDiagnostics`: what is wrong with a text, and in which phase its breakpoint stops. */
export interface ConditionDiagnosticsArguments {
  text: string;
  /** Default: "condition". */
  kind?: "condition" | "hitCondition" | "logMessage";
  /** Of the map, with `line`. */
  uri?: string;
  /** From 0. */
  line?: number;
  /** Name of a function breakpoint: module path, glob, class or operation, with a prefix or without. Or a data id. */
  path?: string;
  /** Id of the filter of anomalies whose condition it is, such as `nonFinite`. */
  filter?: string;
  /** What the column or the prefix asks for; otherwise the names of the text decide. */
  phase?: "after" | "before";
}

/** Empty diagnostics are a text that can be set. */
export interface ConditionDiagnosticsResponse {
  diagnostics: ConditionDiagnostic[];
  /** In which the breakpoint stops; missing while something is wrong. */
  phase?: "after" | "before";
  /** What the breakpoint stands on: `step`, `module`, `operation`, `logits`, `processor`, `sample`; or the filter. */
  place?: string;
}

/** Who is to run on. */
export interface ContinueArguments {
  threadId: number;
  singleThread?: boolean;
}

/** Who runs on. */
export interface ContinueResponseBody {
  /** Missing is true. */
  allThreadsContinued?: boolean;
}

/** Who runs on, when no request said so. */
export interface ContinuedEventBody {
  threadId: number;
  /** Missing is true. */
  allThreadsContinued?: boolean;
}

/** A value that may be watched: a child of a variable, an expression or an address. */
export interface DataBreakpointInfoArguments {
  name: string;
  variablesReference?: number;
  frameId?: number;
  bytes?: number;
  asAddress?: boolean;
  mode?: string;
}

/** How the value may be watched. */
export interface DataBreakpointInfoResponseBody {
  /** None if it cannot be watched; then the description says why. */
  dataId: string;
  description: string;
  accessTypes?: ("read" | "readWrite" | "write")[];
  /** The breakpoint may be set again in a later session. */
  canPersist?: boolean;
}

/** Between two distributions of the next token, in float64. */
export interface Distance {
  /** Whether they are made of the same logits, to the last bit. */
  same: boolean;
  /** Divergence of the second from the first, in nats; missing where it is not finite, as where a token is banned. */
  kl?: number;
  /** The share of the probability that moved, 0 to 1. */
  totalVariation?: number;
}

/** `llm/edit`: changes the run, which then stands where it stood, or at the first step that is changed. */
export interface EditArguments {
  edits: EditSpec[];
  /** Whose step is meant; the top one's when missing. An edit in the history makes a branch. */
  frameId?: number;
  /** Of edits that do not say it. When missing: of a token this one, of everything else onwards. */
  steps?: "all" | "onwards" | "this";
}

/** What becomes of the elements. */
export interface EditChange {
  kind: "ban" | "bias" | "clamp" | "force" | "freeze" | "mean" | "noise" | "patch" | "projectOut" | "resample" | "scale" | "set" | "skip" | "steer" | "zero";
  /**
   * The value to `set`, the factor to `scale` with, the standard deviation of `noise`, the coefficient to `steer` with,
   * the `bias`.
   */
  number?: number | "-inf" | "inf" | "nan";
  low?: number | "-inf" | "inf" | "nan";
  high?: number | "-inf" | "inf" | "nan";
  /** Of `noise` and `resample`; 0 when missing. */
  seed?: number;
  /** To `force`, `ban` or `bias`: ids, or their text, quoted or not. */
  tokens?: (number | string)[];
  /**
   * The values to `set` or `patch`, the vector to `steer` by or to `projectOut`, the vectors to take the `mean` of or
   * to `resample` from.
   */
  tensor?: EditTensor;
  /** Of a `patch`, instead of a tensor; it stays beside the tensor that it was. */
  source?: EditSource;
  /** The prompt to `set`: what the run begins with; of a chat instead of the last message of the user. */
  text?: string;
}

/** An edit of the present branch. */
export interface EditInfo {
  id: number;
  spec: EditSpec;
  /** What it does, in one line. */
  text: string;
  enabled: boolean;
  /** Why it cannot be applied. */
  problem?: string;
}

/** Why an edit could not be applied. */
export interface EditProblem {
  id: number;
  text: string;
}

/** Where the values of a patch are from: another prompt or branch, module, position or step. */
export interface EditSource {
  prompt?: string;
  branch?: number;
  /** The target's own when missing. */
  path?: string;
  /** The target's own when missing. */
  positions?: number[];
  /** The prefill, step 0, of another prompt; else the step of the frame. */
  step?: number;
}

/** An edit as data. */
export interface EditSpec {
  target: EditTarget;
  change: EditChange;
  /** As the request says when missing. */
  steps?: EditSteps;
  /** Default: true. */
  enabled?: boolean;
}

/** The steps in which an edit is applied; 0 is the prefill. */
export interface EditSteps {
  /** Default: 0. */
  first?: number;
  /** Itself included; all that follow when missing. */
  last?: number;
}

/** Which value is changed, and which elements of it; all of them where nothing is said. */
export interface EditTarget {
  kind: "attention" | "cache" | "expert" | "logits" | "module" | "option" | "parameter" | "prompt" | "token";
  /** Of a module, or a glob of paths; of attention that of its module, of an expert that of the mixture. */
  path?: string;
  /**
   * Of a module what it is given or, when missing, returns. Of attention what its heads give (when missing), where they
   * look, or the scores before the softmax.
   */
  value?: "heads" | "input" | "output" | "pattern" | "scores";
  /** Which argument of a module, by name or number, or which item of what it returns; the first tensor if missing. */
  part?: string | number;
  /** Of a parameter or buffer, of an entry of the cache such as `3.keys`, of an option of sampling. */
  name?: string;
  /** Its number. */
  expert?: number;
  /** Of the batch, from 0. Of a token and a prompt one at most. */
  sequences?: number[];
  /** In the text, padding included; negative ones from the end of the text as it is in each step. */
  positions?: number[];
  /** In the last axis. */
  neurons?: number[];
  /** As Python has it, `[0, -1, 3:5]`, instead of sequences, positions and neurons. */
  index?: string;
  heads?: number[];
  /** Positions that look. */
  queries?: number[];
  /** Positions that are looked at. */
  keys?: number[];
}

/** Numbers of an edit, to the last bit. */
export interface EditTensor {
  /** As torch names it: `float32`. */
  dtype: string;
  shape: number[];
  /** Bytes of the elements, little-endian and row by row, in base64. Lists of edits leave it out unless asked for. */
  data?: string;
}

/** `llm/edits`. */
export interface EditsArguments {
  /** Whether the numbers of tensors are wanted too. Default: false. */
  withData?: boolean;
}

/** `llm/saveEdits` and `llm/loadEdits`: the list as a JSON file. */
export interface EditsFileArguments {
  file: string;
  /**
   * Whether a file that is there already may be overwritten; of loading, whether the list is emptied first. Default:
   * false.
   */
  replace?: boolean;
}

/** The answer to all requests that change the list, and to `llm/edits`: the list of the present branch. */
export interface EditsResponseBody {
  edits: EditInfo[];
  /** The branch that is left, where this made another one. */
  forkedFrom?: number;
}

/** `llm/editEffect`: what edits of the present branch did in a step. */
export interface EffectArguments {
  /** Of edits; all of the list when missing. */
  ids?: number[];
  /** The first that they change when missing. In a later one, the same text is read without them. */
  step?: number;
  /** The sequence that is changed most when missing. */
  threadId?: number;
}

/** How far the residual stream moved at one place, |new - old| / |old|. */
export interface EffectLayer {
  /** Of the layer behind which it is; empty for what goes into the first one. */
  path: string;
  /** At the last position. */
  last?: number;
  /** Of all positions of the step. */
  largest?: number;
}

/** An edit whose values are far outside of the range of their place. */
export interface EffectOutlier {
  id: number;
  /** Path of the module, or name of the parameter. */
  where: string;
  /** How many times as large as the place's own, by norm or largest number; missing where values are not finite. */
  factor?: number;
}

/** The answer to `llm/editEffect`. */
export interface EffectResponseBody {
  ids: number[];
  step: number;
  sequence: number;
  /**
   * How far it came: all is the same to the last bit; layers moved, and not the logits; only the choice of the token is
   * another; the logits are.
   */
  reach: "choice" | "layers" | "logits" | "nothing";
  /** For people: what it did, then what there is to warn of. */
  text: string[];
  /** Between the softmax of the model's logits without the edits and with them, before any logits processor. */
  logits: Distance;
  /** Most likely by the logits. */
  before: LikelyToken;
  after: LikelyToken;
  /** Empty where there is no residual stream to read. */
  layers: EffectLayer[];
  /** The same behind all logits processors; missing in another decoding loop. */
  drawn?: Distance;
  chosenBefore?: Token;
  chosenAfter?: Token;
  /** Of a model that does not generate: whose logits these are, the one where they moved most. */
  position?: number;
  /**
   * The first layer from which on nothing moved by more than rounding; missing where it reached the end, or began
   * nowhere.
   */
  diedOut?: string;
  outliers?: EffectOutlier[];
  /** Edits that had nothing to change in this step. */
  unmet?: number[];
  problems?: EditProblem[];
}

/** An expression, and where it is to be evaluated; without a frame, globally. */
export interface EvaluateArguments {
  expression: string;
  frameId?: number;
  line?: number;
  column?: number;
  source?: Source;
  /** `watch`, `repl`, `hover` (free of side effects), `clipboard`, `variables` or another. */
  context?: string;
  format?: ValueFormat;
}

/** The value of an expression, with children if its reference is above 0. */
export interface EvaluateResponseBody {
  result: string;
  variablesReference: number;
  type?: string;
  presentationHint?: VariablePresentationHint;
  namedVariables?: number;
  indexedVariables?: number;
  memoryReference?: string;
  valueLocationReference?: number;
}

/** All that is known of an exception. */
export interface ExceptionDetails {
  message?: string;
  typeName?: string;
  fullTypeName?: string;
  evaluateName?: string;
  stackTrace?: string;
  innerException?: ExceptionDetails[];
}

/** The thread that an exception stopped. */
export interface ExceptionInfoArguments {
  threadId: number;
}

/** The exception that stopped the thread. */
export interface ExceptionInfoResponseBody {
  exceptionId: string;
  breakMode: "always" | "never" | "unhandled" | "userUnhandled";
  description?: string;
  details?: ExceptionDetails;
}

/** A breakpoint that the client wants on a name. */
export interface FunctionBreakpoint {
  name: string;
  condition?: string;
  hitCondition?: string;
}

/** One position of the text. */
export interface GeneratedToken {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
  position: number;
  /** That chose it; missing in the prompt. */
  step?: number;
  /** With which it was chosen, after all logits processors. */
  probability?: number;
  /** Of that choice, in nats; missing where it was not asked for. */
  entropy?: number;
  /** The most likely ones, the chosen one among them if it is one of them. */
  alternatives?: Alternative[];
  /** Default: false. */
  special?: boolean;
  /** Default: false. */
  padding?: boolean;
}

/** `llm/generation`: a stretch of the text of one sequence. */
export interface GenerationArguments {
  /** Default: 1. */
  threadId?: number;
  /** Position, padding included. Default: 0. */
  start?: number;
  /** All that follow when missing. */
  count?: number;
  /** How many alternatives to tell of every chosen token, which runs its step again. Default: 0. */
  top?: number;
  /** Whether the entropy of every choice is wanted, which runs its step again. Default: false. */
  entropy?: boolean;
}

/** A text, and where in it the run stands. After a way back the tokens that followed are still told. */
export interface GenerationResponseBody {
  sequence: number;
  tokens: GeneratedToken[];
  /** How many positions there are, asked for or not. */
  total: number;
  /** Positions of the prompt, padding included. */
  promptLength: number;
  /** How many tokens have been chosen. */
  steps: number;
  /** At which the run stands. */
  step: number;
  /** Of the module it stands at, empty for the whole model; or `step`, `logits`, `sample`, `end`, a processor. */
  path: string;
  phase: "after" | "before";
  /** Paths of the layers, in their order. */
  layers: string[];
  /** Whether steps have `logits` and `sample`: not in decoding loops of transformers, nor without generation. */
  hasSelection: boolean;
  /** Whether the last token of the run has been chosen. */
  isOver: boolean;
  /** Index in `layers` of the one that it stands in or behind; missing before the first one. */
  layer?: number;
  /** Whether it stands in the choice of a token: at `logits`, a logits processor or `sample`. Default: false. */
  isSelecting?: boolean;
}

/** Where the thread is to go on from. */
export interface GotoArguments {
  threadId: number;
  /** From the `gotoTargets` request. */
  targetId: number;
}

/** A place that `goto` may jump to. */
export interface GotoTarget {
  id: number;
  label: string;
  line: number;
  column?: number;
  endLine?: number;
  endColumn?: number;
  instructionPointerReference?: string;
}

/** The place to jump to. */
export interface GotoTargetsArguments {
  source: Source;
  line: number;
  column?: number;
}

/** What `goto` may jump to near that place. */
export interface GotoTargetsResponseBody {
  targets: GotoTarget[];
}

/** What is differentiated. */
export interface GradientObjective {
  /** `loss`: the mean cross entropy of every token of the text, given those before it. Default: "logit". */
  kind?: "logit" | "logprob" | "loss";
  /** An id, or a text, quoted or not; else that of the frame's step, the likeliest while none is chosen. */
  token?: number | string;
  /** In the forward that is run again, whose logits are meant; the last one by default. */
  position?: number;
}

/** The gradient with respect to one tensor, of the same shape. */
export interface GradientRow {
  name: string;
  shape: number[];
  dtype: string;
  /** Opens like a tensor; 0 where there is no gradient. */
  variablesReference: number;
  /** Euclidean; missing where nothing leads from the tensor to the number. */
  norm?: number;
}

/** `llm/gradients`: of one number, with respect to the tensors of a module. */
export interface GradientsArguments {
  frameId: number;
  of?: GradientObjective;
  /** Of the module; the frame's own by default. */
  path?: string;
  withRespectTo?: ("inputs" | "output" | "parameters")[];
}

/**
 * Base of everything on the wire: camelCase there, snake_case here, and None is left out.
 *
 * Subclasses name what is required first; they are made with keywords.
 */
export interface GradientsResponseBody {
  /** By one forward over the whole text, rather than by the step as it was. */
  recomputed: boolean;
  gradients: GradientRow[];
  /** Of what was differentiated; missing, as every number here, where it is not finite. */
  value?: number;
  /** Whose logit or log-probability it is; missing for the loss. */
  token?: Token;
  /** For the loss: of every token but the first, in nats. */
  losses?: (number | null)[];
}

/** What the last call of a module in this step gave. Modules that have not run have none. */
export interface InlineValue {
  path: string;
  /** Euclidean, of the vector at the last position of its output; of its input while it runs. */
  norm?: number;
  /** Default: false. */
  isInput?: boolean;
  /** What the logit lens says behind a layer; at `sample` the chosen token. */
  token?: Token;
  probability?: number;
}

/** `llm/inlineValues`: a short value for each of the modules whose lines are visible. */
export interface InlineValuesArguments {
  frameId: number;
  /** As written on the lines of the map. */
  paths: string[];
  /** Run the step again for what is not known yet. Else only what is held is told, at once. Default: false. */
  wait?: boolean;
}

/**
 * Base of everything on the wire: camelCase there, snake_case here, and None is left out.
 *
 * Subclasses name what is required first; they are made with keywords.
 */
export interface InlineValuesResponseBody {
  values: InlineValue[];
  /** Whether asking with `wait` would tell no more. */
  isComplete: boolean;
}

/** What the client is to fetch again. */
export interface InvalidatedEventBody {
  /** `all`, also when missing, `stacks`, `threads`, `variables` or another. */
  areas?: string[];
  threadId?: number;
  stackFrameId?: number;
}

/** What a session debugs and how: a model with a prompt, or a program. Paths are resolved from `cwd`. */
export interface LaunchArguments {
  /** Folder of a model in transformers' format, or its id on the Hugging Face hub. */
  model?: string;
  /** Branch, tag or commit of a model on the hub. */
  revision?: string;
  /** Text that the model continues, fills in or labels. */
  prompt?: string;
  /** Several texts as one padded batch, on the left where the model continues them. */
  prompts?: string[];
  /** A chat, put into the model's chat template: a list of {role, content}. */
  messages?: Record<string, unknown>[];
  /**
   * Options of transformers' GenerationConfig, such as max_new_tokens, do_sample, temperature. What is not given comes
   * from the model's own generation_config.json. A text is read as JSON.
   */
  generation?: Record<string, unknown>;
  /** Seed of all random number generators, set before every run. */
  seed?: number;
  /** Number format of the weights; 'auto' takes the checkpoint's own. Default: "auto". */
  dtype?: "auto" | "bfloat16" | "float16" | "float32" | "float64";
  /** Device of the whole model, such as 'cpu', 'cuda' or 'cuda:1'. */
  device?: string;
  /** Placement over several devices as transformers' device_map takes it (needs accelerate). */
  deviceMap?: string | Record<string, number | string>;
  /** Attention kernels: 'eager', 'sdpa', 'flash_attention_2' … */
  attnImplementation?: string;
  /** Run Python code that comes with the model. Only for models that you trust. Default: false. */
  trustRemoteCode?: boolean;
  /** Model map (.llmmap) that the stack points into. Default: one with breakpoints, or a new one. */
  map?: string;
  /** Stop before the first forward pass, or before the first line of a program. Default: false. */
  stopOnEntry?: boolean;
  /** Stop once more after the last token. By default yes when debugging, no with noDebug. */
  stopAtEnd?: boolean;
  /** Run without breakpoints and stops. Default: false. */
  noDebug?: boolean;
  /** Python file that is run unchanged: its models are debugged when it calls them. */
  program?: string;
  /** The same for a module, as `python -m` runs it. */
  module?: string;
  /** Arguments of the program or module. */
  args?: string[];
  /** Whether debugpy may be used in the process, for breakpoints on lines of Python. Default: true. */
  pythonDebugger?: boolean;
  /** Whether stepping by lines passes over libraries, whose frames are shown greyed out. Default: true. */
  justMyCode?: boolean;
  /** Python interpreter that runs the model; it needs llm-dap and torch. Default: the adapter's. */
  python?: string;
  /** Working directory of the model's process. */
  cwd?: string;
  /** Environment variables to set, or to remove when null. */
  env?: Record<string, string | null>;
  /** Where the model's process runs: the debug console or a terminal of the editor. Default: "internalConsole". */
  console?: "externalTerminal" | "integratedTerminal" | "internalConsole";
  /** Token that a listening adapter printed. Not needed over stdio. */
  token?: string;
}

/** `llm/lens`: the logit lens over layers and positions of the frame's sequence, at the frame's step. */
export interface LensArguments {
  frameId: number;
  /** Another step of the same sequence than the frame's. */
  step?: number;
  /** Indices of layers; -1 is what goes into the first one. All of them when missing. */
  layers?: number[];
  /**
   * In the sequence, padding included, as in the scope Tokens; from its end when negative. Only the position that the
   * step chooses its token from when missing.
   */
  positions?: number[];
  /** How many of the most likely tokens are told. Default: 5. */
  top?: number;
  /** Tokens whose rank and probability are told everywhere: ids, or their text, such as ' Paris', quoted or not. */
  watch?: (number | string)[];
  /**
   * Run every step again, rather than one forward over the whole text; takes as many forwards as there are steps.
   * Default: false.
   */
  exact?: boolean;
}

/** A token that could come next, or a label of a classifier. */
export interface LensCandidate {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
  /** Counted from 1. */
  rank: number;
  /** Missing, as every number of a model may be, where it is not finite. */
  probability?: number;
  logit?: number;
}

/** What would be said after one layer at one position, and the residual stream there. */
export interface LensCell {
  top: LensCandidate[];
  /** In the order of `watch`. */
  watched: LensCandidate[];
  /** Euclidean norm of the residual stream. */
  norm?: number;
  /** Norm of what the layer added; 0 before the first one. */
  update?: number;
  /** Of the residual stream with what the last layer leaves. */
  cosine?: number;
}

/** One position of the text. */
export interface LensColumn {
  /** Whether it comes from one forward over the whole text, which rounds differently than the steps of the run did. */
  recomputed: boolean;
  /** In the order of `layers`; empty for padding. */
  cells: LensCell[];
  /** Missing for a classifier, which says one thing about the whole text. */
  position?: number;
  /** That stands there. */
  token?: Token;
  /** Default: false. */
  padding?: boolean;
}

/** A line of the table. */
export interface LensLayer {
  /** -1 for what goes into the first layer. */
  index: number;
  /** Of the module; empty for what goes into the first layer. */
  path: string;
}

/** The answer to `llm/lens`. */
export interface LensResponseBody {
  layers: LensLayer[];
  columns: LensColumn[];
}

/** A token, or a label, and how likely it is. */
export interface LikelyToken {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
  /** Missing, as every number of a model may be, where it is not finite. */
  probability?: number;
}

/** Nothing: all loaded sources are asked for. */
export interface LoadedSourcesArguments {
}

/** All sources that the debuggee has loaded. */
export interface LoadedSourcesResponseBody {
  sources: Source[];
}

/** `llm/loading`, engine to adapter: how far loading is. Editors get DAP's progress events instead. */
export interface LoadingEventBody {
  message: string;
  percentage: number;
}

/** `llm/map`: every place of the model on a line; docs/model-map.md says how it is written. */
export interface MapArguments {
}

/**
 * Base of everything on the wire: camelCase there, snake_case here, and None is left out.
 *
 * Subclasses name what is required first; they are made with keywords.
 */
export interface MapResponseBody {
  text: string;
}

/** A module of the model; `additionalModuleColumns` names what is added here. */
export interface ModelModule {
  id: number | string;
  name: string;
  path?: string;
  isOptimized?: boolean;
  isUserCode?: boolean;
  version?: string;
  symbolStatus?: string;
  symbolFilePath?: string;
  dateTimeStamp?: string;
  addressRange?: string;
  /** Its class. */
  type?: string;
  /** Of its `forward` in the file `path`, from 1. */
  line?: number;
  /** Elements of its parameters, those of modules inside it included. */
  parameters?: number;
  /** Of its first parameter. */
  dtype?: string;
  /** Of its first parameter. */
  device?: string;
}

/** A row of the modules view. */
export interface Module {
  id: number | string;
  name: string;
  path?: string;
  isOptimized?: boolean;
  isUserCode?: boolean;
  version?: string;
  symbolStatus?: string;
  symbolFilePath?: string;
  dateTimeStamp?: string;
  addressRange?: string;
}

/** Which modules; no `module_count`, or 0, means all. */
export interface ModulesArguments {
  startModule?: number;
  moduleCount?: number;
}

/** The modules asked for. */
export interface ModulesResponseBody {
  modules: Module[];
  totalModules?: number;
}

/** `llm/nameBranch`. */
export interface NameBranchArguments {
  id: number;
  name: string;
  /** Default: 1. */
  threadId?: number;
}

/** Who is to step, and how far. */
export interface NextArguments {
  threadId: number;
  singleThread?: boolean;
  granularity?: "instruction" | "line" | "statement";
}

/** Text for the user, of the debuggee or of the adapter. */
export interface OutputEventBody {
  output: string;
  /** `console`, also when missing, `important`, `stdout`, `stderr`, `telemetry` or another. */
  category?: string;
  group?: "end" | "start" | "startCollapsed";
  /** If above 0, what is shown instead of the text, to unfold. */
  variablesReference?: number;
  source?: Source;
  line?: number;
  column?: number;
  data?: unknown;
  locationReference?: number;
}

/** Who is to stop. */
export interface PauseArguments {
  threadId: number;
}

/** A stretch of a text; `end` is the first position behind it. */
export interface Positions {
  start: number;
  end: number;
}

/** Which bytes to read. */
export interface ReadMemoryArguments {
  memoryReference: string;
  count: number;
  offset?: number;
}

/** The bytes; fewer than asked for, and none unreadable, means that the memory ends there. */
export interface ReadMemoryResponseBody {
  /** Of the first byte: hexadecimal after `0x`, else decimal. */
  address: string;
  unreadableBytes?: number;
  /** In base64. */
  data?: string;
}

/** `llm/regenerateMap`: makes a map anew from the model's config, and has the editor change the document. */
export interface RegenerateMapArguments {
  uri: string;
}

/** What became of it. Comments stay with their places. */
export interface RegenerateMapResponse {
  /** False where the map is as the model is, or the editor did not take the change. */
  applied: boolean;
  /** The new line of every old one that holds the same place, from 0; for breakpoints. */
  moves: Record<string, number>;
}

/** The frame that is to run again from its start. */
export interface RestartFrameArguments {
  frameId: number;
}

/** Who is to run back. */
export interface ReverseContinueArguments {
  threadId: number;
  singleThread?: boolean;
}

/** `llm/reverseStepIn` and `llm/reverseStepOut`: what DAP's stepBack is to stepIn and stepOut. */
export interface ReverseStepArguments {
  threadId: number;
}

/** `llm/runToStep`: goes to any place of any step, past or future. */
export interface RunToStepArguments {
  step: number;
  /** Module path or `logits`, `sample`; the beginning of the step when it is missing. */
  path?: string;
  /** Default: "before". */
  phase?: "after" | "before";
}

/** `llm/running`: a run is ready to begin. */
export interface RunningEventBody {
  /** Class of the model. */
  model: string;
  device: string;
  /** B, how many texts are generated together. */
  sequences: number;
}

/** `llm/saliency`: how much every token bears on what the model says next. */
export interface SaliencyArguments {
  frameId: number;
  of?: GradientObjective;
}

/**
 * Base of everything on the wire: camelCase there, snake_case here, and None is left out.
 *
 * Subclasses name what is required first; they are made with keywords.
 */
export interface SaliencyResponseBody {
  recomputed: boolean;
  tokens: SaliencyToken[];
  value?: number;
  token?: Token;
}

/** One token of the text before the frame's token. */
export interface SaliencyToken {
  position: number;
  /** Gradient times input, summed over the width of the embedding. */
  score?: number;
  /** Euclidean, of the gradient with respect to the embedding. */
  norm?: number;
  id?: number;
  text?: string;
  /** Whether an encoder read it; without an `id` it is a position of the encoder's output. Default: false. */
  encoded?: boolean;
}

/** `llm/sampling`: the choice of the token of a frame's step, for the sequence of its thread. */
export interface SamplingArguments {
  frameId: number;
  /** Another step of the same sequence than the frame's. */
  step?: number;
  /** How many tokens to list at every stage. Default: 20. */
  top?: number;
}

/** A token whose probability a logits processor changed. */
export interface SamplingMove {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
  before: number;
  after: number;
}

/** What a logits processor was made with, as text. */
export interface SamplingOption {
  name: string;
  value: string;
}

/** All stages, and the draw. */
export interface SamplingResponseBody {
  step: number;
  sequence: number;
  token: SamplingToken;
  /** Whether the token is chosen already; else it will be. */
  isChosen: boolean;
  /** Padding is what a sequence that has ended gets, whatever the scores say. */
  draw: "greedy" | "padding" | "sampled";
  /** How many tokens cannot be chosen that the logits allowed. */
  pruned: number;
  stages: SamplingStage[];
  /** Their probability under the logits. */
  prunedMass?: number;
}

/** The scores at one point of the choice. */
export interface SamplingStage {
  /** `logits`, the class of a logits processor, or `probabilities`. */
  name: string;
  kind: "logits" | "probabilities" | "processor";
  /** How many processors of that class come before it. */
  occurrence: number;
  /** How many tokens can be chosen. */
  tokens: number;
  top: SamplingToken[];
  /** The token that is chosen in the end, at this stage. */
  chosen: SamplingToken;
  /** Of the chosen token, from 1; missing where there are no probabilities. */
  rank?: number;
  /** In nats; missing where there are no probabilities. */
  entropy?: number;
  options?: SamplingOption[];
  /** How many scores are not what they were at the stage before. Default: 0. */
  changed?: number;
  /** How many tokens were taken out. Default: 0. */
  pruned?: number;
  /** Their probability at the stage before. */
  prunedMass?: number;
  /** How many scores are NaN. Default: 0. */
  nan?: number;
  /** The tokens whose probability changed most. */
  movers?: SamplingMove[];
}

/** A token at one stage. */
export interface SamplingToken {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
  /** Missing when it is not a finite number: a token that was pruned has -inf. */
  score?: number;
  probability?: number;
}

/** The answer to `llm/saveEdits`. */
export interface SaveEditsResponseBody {
  file: string;
  /** How many. */
  edits: number;
}

/** `llm/saveTensor`: writes the tensor to a file. */
export interface SaveTensorArguments {
  /** Absolute; its suffix says the format: `.safetensors` or `.npy`. */
  path: string;
  variablesReference?: number;
  expression?: string;
  frameId?: number;
  /** Default: false. */
  overwrite?: boolean;
}

/** What was written. */
export interface SaveTensorResponseBody {
  path: string;
  /** Size of the file. */
  bytes: number;
  shape: number[];
  dtype: string;
}

/** A named set of variables of a frame. */
export interface Scope {
  name: string;
  variablesReference: number;
  /** Clients fetch it only when the user opens it. */
  expensive: boolean;
  /** `arguments`, `locals`, `registers`, `returnValue` or another. */
  presentationHint?: string;
  namedVariables?: number;
  indexedVariables?: number;
  source?: Source;
  line?: number;
  column?: number;
  endLine?: number;
  endColumn?: number;
}

/** The frame whose scopes are asked for. */
export interface ScopesArguments {
  frameId: number;
}

/** The scopes of the frame. */
export interface ScopesResponseBody {
  scopes: Scope[];
}

/** All function breakpoints that there are to be from now on. */
export interface SetFunctionBreakpointsArguments {
  breakpoints: FunctionBreakpoint[];
}

/** What became of each, in the order of the arguments. */
export interface SetFunctionBreakpointsResponseBody {
  breakpoints: Breakpoint[];
}

/** A piece of code to show: a file by its path, or a text that the `source` request answers by its reference. */
export interface Source {
  name?: string;
  path?: string;
  /** If above 0 the text comes from the `source` request, even if there is a path. */
  sourceReference?: number;
  presentationHint?: "deemphasize" | "emphasize" | "normal";
  origin?: string;
  /** Sources related to this one, such as those that it was generated from. */
  sources?: Source[];
  /** Comes back from the client unchanged, even in a later session. */
  adapterData?: unknown;
  checksums?: Checksum[];
}

/** Where one call of a stopped thread stands; without a source, line and column are 0. */
export interface StackFrame {
  /** Unique over all threads. */
  id: number;
  name: string;
  line: number;
  column: number;
  source?: Source;
  endLine?: number;
  endColumn?: number;
  /** Missing is true, if the capability `supports_restart_frame` is. */
  canRestart?: boolean;
  instructionPointerReference?: string;
  moduleId?: number | string;
  presentationHint?: "label" | "normal" | "subtle";
}

/** What the names of stack frames are to show. */
export interface StackFrameFormat {
  hex?: boolean;
  parameters?: boolean;
  parameterTypes?: boolean;
  parameterNames?: boolean;
  parameterValues?: boolean;
  line?: boolean;
  module?: boolean;
  /** Also frames that would be hidden. */
  includeAll?: boolean;
}

/** Whose frames, and which of them; no `levels`, or 0, means all. */
export interface StackTraceArguments {
  threadId: number;
  startFrame?: number;
  levels?: number;
  format?: StackFrameFormat;
}

/** The frames, innermost first; fewer than asked for means that there are no more. */
export interface StackTraceResponseBody {
  stackFrames: StackFrame[];
  totalFrames?: number;
}

/** `llm/status`: how the run goes. */
export interface StatusArguments {
}

/** The answer to `llm/status`. */
export interface StatusResponseBody {
  /** Class of the model; empty before a program has called one. */
  model: string;
  device: string;
  dtype: string;
  parameters: number;
  /** How many tokens have been chosen, of each sequence. */
  steps: number;
  /** That choosing them took; stops do not count. */
  seconds: number;
  /** Bytes in use: of the model's process, or on the device where it has memory of its own. */
  memory?: number;
  /** File name of the program that was started, or the name of its module; none of a prompt, or after an attach. */
  program?: string;
  /**
   * Whether the run stands in Python code around which no model is called: what is told is of the last call. Default:
   * false.
   */
  isOutside?: boolean;
}

/** Who is to step back, and how far. */
export interface StepBackArguments {
  threadId: number;
  singleThread?: boolean;
  granularity?: "instruction" | "line" | "statement";
}

/** Who is to step into what, and how far. */
export interface StepInArguments {
  threadId: number;
  singleThread?: boolean;
  /** From the `stepInTargets` request. */
  targetId?: number;
  granularity?: "instruction" | "line" | "statement";
}

/** Who is to step out, and how far. */
export interface StepOutArguments {
  threadId: number;
  singleThread?: boolean;
  granularity?: "instruction" | "line" | "statement";
}

/** Why execution stopped, and whose. */
export interface StoppedEventBody {
  /**
   * `step`, `breakpoint`, `exception`, `pause`, `entry`, `goto`, `function breakpoint`, `data breakpoint`, `instruction
   * breakpoint` or another.
   */
  reason: string;
  /** The reason as the user reads it. */
  description?: string;
  threadId?: number;
  preserveFocusHint?: boolean;
  text?: string;
  allThreadsStopped?: boolean;
  hitBreakpointIds?: number[];
}

/** `llm/sweep`: one change at every layer and position of the frame's step, a forward for each. */
export interface SweepArguments {
  frameId: number;
  /**
   * The value of another text's run takes the place; zeros do; the mean over the step's positions does. Default:
   * "patch".
   */
  change?: "mean" | "patch" | "zero";
  /** That text, for a patch. */
  source?: string;
  /** Indices, -1 for what goes into the first layer; all when missing. */
  layers?: number[];
  /** In the text, padding included, from its end when negative; all of this step when missing. */
  positions?: number[];
  /** In the other text, one for each of `positions`; needed where the texts differ in length. */
  sourcePositions?: number[];
  /** A glob or class of modules instead of the layers, such as `*.mlp`; `layers` counts these then. */
  modules?: string;
  /** A token whose rise is looked for; when missing the most likely one of the other text, or of this one. */
  target?: number | string;
  /** The token that it is compared with; when missing the most likely one of this text that is not the target. */
  foil?: number | string;
}

/** A position that was changed. */
export interface SweepColumn {
  position: number;
  token: Token;
}

/** The answer to `llm/sweep`: numbers by rows and columns. */
export interface SweepResponseBody {
  step: number;
  target: Token;
  foil: Token;
  rows: SweepRow[];
  columns: SweepColumn[];
  /** Without a change. */
  base: SweepSaying;
  /** Of the target. */
  probability: Tile;
  difference: Tile;
  /** Divergence of the next token's distribution from that without a change, in nats. */
  kl: Tile;
  /** Of the other text. */
  source?: SweepSaying;
  /** The share of the way from the difference of `base` to that of `source`. */
  recovered?: Tile;
}

/** A line of the table. */
export interface SweepRow {
  index: number;
  /** Empty for what goes into the first layer. */
  path: string;
}

/** What a run says of the two tokens. */
export interface SweepSaying {
  /** Of the target, by the model's own logits. */
  probability?: number;
  /** Logit of the target less that of the foil. */
  difference?: number;
}

/** `llm/tensor`: a page of one or two axes. */
export interface TensorArguments {
  variablesReference?: number;
  expression?: string;
  frameId?: number;
  /**
   * By axis: an index, `[start, end]`, or null for all of it. Of those that are not given the last two are whole, as
   * far as two axes are left; others are at 0.
   */
  slices?: (number | number[] | null)[];
  /** A page with more numbers is down-sampled. Default: 65536. */
  maxCells?: number;
  /** Default: "float32". */
  dtype?: "float16" | "float32" | "uint8";
  /** Default: "magnitude". */
  reduction?: "magnitude" | "maximum";
  /** Whether the statistics of the page are wanted too. Default: false. */
  statistics?: boolean;
  /** Whether its quantiles, histogram and outliers are. Default: false. */
  distribution?: boolean;
  /** Whether statistics and distribution are those of the whole tensor rather than of the page. Default: false. */
  whole?: boolean;
}

/** One axis of the tensor: `index` of one that is fixed, `start` and `end` of one that the tile has. */
export interface TensorAxis {
  name: string;
  size: number;
  index?: number;
  start?: number;
  end?: number;
  /** The token at every cell of the tile; of a cell that stands for several the first one. */
  labels?: string[];
}

/** How the finite numbers of the page, or of the tensor, are distributed; empty lists where there are none. */
export interface TensorDistribution {
  percents: number[];
  /** By `percents`, interpolated as NumPy does. */
  quantiles: number[];
  /** Of the bins of a histogram, one more than there are; a bin holds its lower edge, the last one both. */
  edges: number[];
  counts: number[];
  /** From 0, those first. */
  farthest: TensorElement[];
  /** Where the first NaN or infinity stands. */
  firstNonFinite?: number[];
  /** Of how many elements, drawn at random, quantiles and histogram are where those of all would take long. */
  sample?: number;
}

/** One number and where it stands in the whole tensor. */
export interface TensorElement {
  index: number[];
  value: number;
}

/** `llm/tensorLiteral`: Python that makes the tensor again. */
export interface TensorLiteralArguments {
  variablesReference?: number;
  expression?: string;
  frameId?: number;
  /** Default: "torch". */
  library?: "numpy" | "torch";
}

/** The Python expression; it needs `torch`, or NumPy as `np`. */
export interface TensorLiteralResponseBody {
  text: string;
}

/** A page. The axes of the tile are those that have a `start`, in their order; float32 rounds what is wider. */
export interface TensorResponseBody {
  /** Of the whole tensor. */
  shape: number[];
  dtype: string;
  device: string;
  axes: TensorAxis[];
  tile: Tile;
  statistics?: TensorStatistics;
  distribution?: TensorDistribution;
}

/** Of all numbers of the page, or of the tensor, not only those that are sent; null without a finite one. */
export interface TensorStatistics {
  mean: number;
  std: number;
  min: number;
  max: number;
  norm: number;
  zeros: number;
  nan: number;
  positiveInf: number;
  negativeInf: number;
}

/** Something that runs and stops on its own. */
export interface Thread {
  id: number;
  name: string;
}

/** All threads; a debuggee without any has one all the same. */
export interface ThreadsResponseBody {
  threads: Thread[];
}

/** Numbers in one or two axes, row by row. A value is `scale` times the number in `data`. */
export interface Tile {
  /** After down-sampling. */
  shape: number[];
  dtype: "float16" | "float32" | "uint8";
  /** Little-endian, in base64. In `uint8` 255 stands for what is not finite, such as a masked row. */
  data: string;
  /** Default: 1.0. */
  scale?: number;
  /** So many neighbours along each axis became one number; the last block may have fewer. Missing: all are there. */
  blocks?: number[];
  /** Which one stands for a block: the one that is farthest from 0, with its sign, or the largest. NaN before all. */
  reduction?: "magnitude" | "maximum";
}

/** What a model reads or says; of a classifier a label. */
export interface Token {
  id: number;
  /** What it adds to the text, not quoted; special tokens by their name. */
  text: string;
}

/** `llm/undoEdit`: takes an edit off the list. */
export interface UndoEditArguments {
  /** The last one when missing. */
  id?: number;
  /** Default: false. */
  all?: boolean;
}

/** How values are to be written. */
export interface ValueFormat {
  hex?: boolean;
}

/** A name with a value, and with children if its reference is above 0. */
export interface Variable {
  name: string;
  value: string;
  variablesReference: number;
  type?: string;
  presentationHint?: VariablePresentationHint;
  /** The expression that `evaluate` understands for it. */
  evaluateName?: string;
  namedVariables?: number;
  /** Clients fetch the children in pages if this is set, and named ones only if `named_variables` is set too. */
  indexedVariables?: number;
  memoryReference?: string;
  declarationLocationReference?: number;
  valueLocationReference?: number;
}

/** How to draw a variable; all strings may also have values that the specification does not list. */
export interface VariablePresentationHint {
  kind?: string;
  attributes?: string[];
  visibility?: string;
  /** The value is fetched on a click: `variables` of its reference answers exactly one variable. */
  lazy?: boolean;
}

/** Whose children, and which of them; no `count`, or 0, means all. */
export interface VariablesArguments {
  variablesReference: number;
  filter?: "indexed" | "named";
  /** Past the end there is nothing, which is no error. */
  start?: number;
  count?: number;
  format?: ValueFormat;
}

/** The children; fewer than asked for means that there are no more. */
export interface VariablesResponseBody {
  variables: Variable[];
}

/** What the extension may ask, by its name on the wire. */
export interface Requests {
  "llm/runToStep": { arguments: RunToStepArguments; body: undefined };
  "llm/reverseStepIn": { arguments: ReverseStepArguments; body: undefined };
  "llm/reverseStepOut": { arguments: ReverseStepArguments; body: undefined };
  "llm/tensor": { arguments: TensorArguments; body: TensorResponseBody };
  "llm/tensorLiteral": { arguments: TensorLiteralArguments; body: TensorLiteralResponseBody };
  "llm/saveTensor": { arguments: SaveTensorArguments; body: SaveTensorResponseBody };
  "llm/sampling": { arguments: SamplingArguments; body: SamplingResponseBody };
  "llm/attention": { arguments: AttentionArguments; body: AttentionResponseBody };
  "llm/lens": { arguments: LensArguments; body: LensResponseBody };
  "llm/attribution": { arguments: AttributionArguments; body: AttributionResponseBody };
  "llm/generation": { arguments: GenerationArguments; body: GenerationResponseBody };
  "llm/status": { arguments: StatusArguments; body: StatusResponseBody };
  "llm/breakpointCosts": { arguments: BreakpointCostsArguments; body: BreakpointCostsResponseBody };
  "llm/map": { arguments: MapArguments; body: MapResponseBody };
  "llm/inlineValues": { arguments: InlineValuesArguments; body: InlineValuesResponseBody };
  "llm/gradients": { arguments: GradientsArguments; body: GradientsResponseBody };
  "llm/saliency": { arguments: SaliencyArguments; body: SaliencyResponseBody };
  "llm/edit": { arguments: EditArguments; body: EditsResponseBody };
  "llm/edits": { arguments: EditsArguments; body: EditsResponseBody };
  "llm/changeEdit": { arguments: ChangeEditArguments; body: EditsResponseBody };
  "llm/undoEdit": { arguments: UndoEditArguments; body: EditsResponseBody };
  "llm/saveEdits": { arguments: EditsFileArguments; body: SaveEditsResponseBody };
  "llm/loadEdits": { arguments: EditsFileArguments; body: EditsResponseBody };
  "llm/branches": { arguments: BranchesArguments; body: BranchesResponseBody };
  "llm/switchBranch": { arguments: BranchArguments; body: BranchesResponseBody };
  "llm/deleteBranch": { arguments: BranchArguments; body: BranchesResponseBody };
  "llm/nameBranch": { arguments: NameBranchArguments; body: BranchesResponseBody };
  "llm/editEffect": { arguments: EffectArguments; body: EffectResponseBody };
  "llm/compareBranches": { arguments: CompareBranchesArguments; body: CompareBranchesResponseBody };
  "llm/sweep": { arguments: SweepArguments; body: SweepResponseBody };
  "threads": { arguments: undefined; body: ThreadsResponseBody };
  "stackTrace": { arguments: StackTraceArguments; body: StackTraceResponseBody };
  "scopes": { arguments: ScopesArguments; body: ScopesResponseBody };
  "variables": { arguments: VariablesArguments; body: VariablesResponseBody };
  "evaluate": { arguments: EvaluateArguments; body: EvaluateResponseBody };
  "goto": { arguments: GotoArguments; body: undefined };
  "gotoTargets": { arguments: GotoTargetsArguments; body: GotoTargetsResponseBody };
  "next": { arguments: NextArguments; body: undefined };
  "stepBack": { arguments: StepBackArguments; body: undefined };
  "stepIn": { arguments: StepInArguments; body: undefined };
  "stepOut": { arguments: StepOutArguments; body: undefined };
  "reverseContinue": { arguments: ReverseContinueArguments; body: undefined };
  "continue": { arguments: ContinueArguments; body: ContinueResponseBody };
  "pause": { arguments: PauseArguments; body: undefined };
  "loadedSources": { arguments: LoadedSourcesArguments; body: LoadedSourcesResponseBody };
  "readMemory": { arguments: ReadMemoryArguments; body: ReadMemoryResponseBody };
  "completions": { arguments: CompletionsArguments; body: CompletionsResponseBody };
  "setFunctionBreakpoints": { arguments: SetFunctionBreakpointsArguments; body: SetFunctionBreakpointsResponseBody };
  "modules": { arguments: ModulesArguments; body: ModulesResponseBody };
  "restartFrame": { arguments: RestartFrameArguments; body: undefined };
  "exceptionInfo": { arguments: ExceptionInfoArguments; body: ExceptionInfoResponseBody };
  "dataBreakpointInfo": { arguments: DataBreakpointInfoArguments; body: DataBreakpointInfoResponseBody };
}

/** What it may ask of the language server. */
export interface LanguageRequests {
  "llm/conditionDiagnostics": { arguments: ConditionDiagnosticsArguments; body: ConditionDiagnosticsResponse };
  "llm/conditionCompletion": { arguments: ConditionCompletionArguments; body: ConditionCompletionResponse };
  "llm/regenerateMap": { arguments: RegenerateMapArguments; body: RegenerateMapResponse };
}

/** What the debugger tells, by its name on the wire. */
export interface Events {
  "llm/loading": LoadingEventBody;
  "llm/running": RunningEventBody;
  "stopped": StoppedEventBody;
  "continued": ContinuedEventBody;
  "output": OutputEventBody;
  "invalidated": InvalidatedEventBody;
}
