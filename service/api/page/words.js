// The page's own words in both languages, and how numbers, money and times are written in each.

import { remember } from "./dom.js";

const WORDS = {
  title: ["Churn warning", "离网预警"],
  skip: ["Skip to the warnings", "跳到预警列表"],
  who: ["Subscriber id or phone number", "用户编号或手机号"],
  look: ["Look up", "查询"],
  language: ["Language", "语言"],
  counts: ["Open warnings", "未结预警"],
  all: ["All open", "全部未结"],
  critical: ["Critical", "紧急"],
  warning: ["Warning", "预警"],
  notice: ["Notice", "提示"],
  live_warnings: ["Live warnings", "实时预警"],
  shown: ["{0} shown", "显示 {0} 条"],
  order: ["Order", "排序"],
  newest: ["Newest", "最新"],
  money: ["Money at risk", "风险金额"],
  act_by: ["Act by", "处理期限"],
  pause: ["Pause", "暂停"],
  resume: ["Resume", "继续"],
  waiting: ["Resume, {0} waiting", "继续（{0} 条待显示）"],
  rules: ["Rules", "规则"],
  filters: ["Filters", "筛选"],
  severity: ["Severity", "级别"],
  rule: ["Rule", "规则"],
  market: ["Market", "市场"],
  area: ["Area", "区域"],
  manager: ["Manager", "客户经理"],
  any: ["Any", "不限"],
  clear: ["Clear", "清除"],
  time: ["Time", "时间"],
  subscriber: ["Subscriber", "用户"],
  what_moved: ["What moved", "变化"],
  orders: ["Orders", "派单"],
  actions: ["Actions", "操作"],
  close: ["Close", "关闭"],
  more: ["More about {0}", "{0} 的详情"],
  take_over: ["Take this warning over", "接手此预警"],
  by: ["Your name or id", "您的姓名或工号"],
  note: ["Note (may stay empty)", "备注（可不填）"],
  cancel: ["Cancel", "取消"],
  acknowledge: ["Acknowledge", "接手"],
  snooze: ["Put off", "推迟"],
  resolve: ["Settle", "结案"],
  put_off: ["Put this warning off", "推迟此预警"],
  settle: ["Say how it ended", "填写处理结果"],
  until: ["Comes back after", "恢复日期"],
  outcome: ["It ended so", "结果"],
  connecting: ["Connecting …", "正在连接…"],
  live: ["Live", "实时"],
  reconnecting: ["Connection lost, trying again …", "连接中断，正在重试…"],
  incomplete: [
    "Partitions {0} are still being restored: the list is not complete yet.",
    "分区 {0} 正在恢复，列表暂不完整。",
  ],
  nothing: ["No open warning matches.", "没有符合条件的未结预警。"],
  nothing_yet: ["What is raised from now on appears here at once.", "新的预警会立即显示在这里。"],
  loading: ["Loading …", "加载中…"],
  unknown: ["Nobody is known by this id or phone number.", "没有找到该编号或手机号的用户。"],
  unreachable: ["The service cannot be reached just now.", "暂时无法连接服务。"],
  accepted: ["Accepted; it is applied as soon as its shard has caught up.", "已受理，分片跟上后即生效。"],
  news: ["{0} new warnings", "{0} 条新预警"],
  raised: ["Raised", "已触发"],
  acknowledged: ["Acknowledged", "已接手"],
  acknowledged_by: ["Taken over by {0}", "由 {0} 接手"],
  resolved: ["Resolved", "已结束"],
  snoozed: ["Put off", "已推迟"],
  snoozed_until: ["Put off until {0}", "推迟至 {0}"],
  recovering: ["Recovering", "恢复中"],
  recovering_on: ["Recovering since {0}", "自 {0} 恢复中"],
  reopened: ["Came back", "再次触发"],
  escalated: ["Graver now", "已升级"],
  retained: ["Kept", "已挽留"],
  false_positive: ["False alarm", "误报"],
  withheld: ["Withheld", "未发布"],
  withheld_feed: ["The feed of this market is doubted: drops and silence are not judged.", "该市场数据存疑，下降与沉默暂不判断。"],
  published: ["Published", "已发布"],
  showing: ["Showing", "显示"],
  nothing_withheld: ["Nothing is withheld.", "没有未发布的预警。"],
  muted: ["Muted until {0} by {1}: {2}", "{1} 已静默至 {0}：{2}"],
  recovered: ["Recovered", "已恢复"],
  churned: ["Lost", "已流失"],
  expired: ["Expired", "已过期"],
  restricted: ["Restricted", "受限"],
  opportunity: ["Opportunity", "机会"],
  call: ["Call", "外呼"],
  sms: ["SMS", "短信"],
  ordered: ["ordered", "已派单"],
  no_consent: ["no consent", "未同意"],
  porting: ["asked to port", "已申请携转"],
  standing: ["was so before", "存量"],
  experimental: ["on trial", "试验中"],
  contacted: ["contacted already", "已接触"],
  mute: ["muted", "已静默"],
  holiday_mute: ["holiday", "假日静默"],
  breaker: ["too many that day", "当日过多"],
  cap: ["rule's share is used up", "规则已满额"],
  none: ["none", "无"],
  details: ["Details", "详情"],
  avoid: ["Do not say", "勿提"],
  offer: ["Offer", "优惠"],
  owner: ["Owner", "负责人"],
  numbers: ["Numbers", "数据"],
  consent: ["Consent", "营销许可"],
  runbook: ["What to do", "处理办法"],
  yes: ["yes", "是"],
  no: ["no", "否"],
  unfed: ["not known", "未知"],
  as_of: ["As of", "截至"],
  closed: ["days closed through {0}", "已结到 {0}"],
  status: ["Status", "状态"],
  since: ["since {0}", "自 {0}"],
  normal: ["normal", "正常"],
  suspended_one_way: ["suspended (one way)", "单停"],
  suspended_two_way: ["suspended (two ways)", "双停"],
  suspended_on_request: ["suspended on request", "申请停机"],
  pre_cancelled: ["pre-cancelled", "预销户"],
  cancelled: ["cancelled", "销户"],
  tenure: ["Tenure", "网龄"],
  years: ["{0} years", "{0} 年"],
  days: ["{0} days", "{0} 天"],
  phone: ["Phone", "号码"],
  arrears: ["Arrears", "欠费"],
  balance: ["Balance", "余额"],
  complaint: ["Open complaint", "未结投诉"],
  porting_state: ["Porting", "携号转网"],
  queried: ["queried", "已查询"],
  code_issued: ["code issued", "已发授权码"],
  requested: ["requested", "已申请"],
  ported: ["ported", "已携出"],
  no_courting: [
    "Asked to port: serve, inform, make no special offer.",
    "用户已申请携转：只服务告知，不得挽留优惠。",
  ],
  open_warnings: ["Open warnings", "未结预警"],
  past_warnings: ["Past warnings", "历史预警"],
  last_90: ["Last 90 days", "近 90 天"],
  as_table: ["As a table", "表格"],
  account: ["Account", "账户"],
  plan: ["Plan", "套餐"],
  fee: ["Monthly fee", "月费"],
  bills: ["Last bills", "近期账单"],
  month: ["This month", "本月"],
  quota: ["Quota left", "剩余流量"],
  resets: ["resets {0}", "{0} 重置"],
  recharge: ["Recharge", "充值"],
  rhythm: ["every {0} days", "约每 {0} 天"],
  ties: ["Ties", "捆绑"],
  contract_end: ["Contract ends", "合约到期"],
  blocks_port: ["Blocks porting", "限制携转"],
  bundles: ["Bundles", "捆绑业务"],
  hard: ["hard", "硬捆绑"],
  broadband: ["Broadband", "宽带"],
  family: ["Family", "家庭"],
  group: ["Group", "集团"],
  key_person: ["key person", "关键人"],
  profile: ["Profile", "资料"],
  segment: ["Segment", "细分"],
  before: ["before: {0}", "此前：{0}"],
  vip: ["VIP level", "VIP 等级"],
  industry: ["Industry", "行业"],
  channel: ["Channel", "渠道"],
  birthday: ["Birthday", "生日"],
  device: ["Device", "终端"],
  dual_sim: ["dual SIM", "双卡"],
  forwarding: ["Forwards to", "呼转至"],
  competitor: ["Called a competitor", "致电竞争对手"],
  silent: ["Silent for", "沉默"],
  offers: ["Offers", "可用优惠"],
  contacts: ["Contacts of 90 days", "近 90 天接触"],
  reached: ["reached", "已接通"],
  refused: ["refused", "拒绝"],
  complained: ["complained", "投诉"],
  to_offer: ["accepted", "接受"],
  spend: ["Spend", "消费"],
  voice: ["Voice", "语音"],
  data: ["Data", "流量"],
  messages: ["SMS", "短信"],
  outgoing: ["Outgoing", "主叫事件"],
  minutes: ["{0} min", "{0} 分钟"],
  day: ["Day", "日期"],
  holiday: ["holiday", "假日"],
  baseline: ["baseline {0} a day", "基线 每天 {0}"],
};

const SEGMENTS = {
  0: ["not eligible", "不在统计范围"],
  1: ["stable", "稳定"],
  21: ["up in spend", "消费上升"],
  22: ["up in voice", "语音上升"],
  23: ["up in data", "流量上升"],
  3: ["declining", "下降未预警"],
  41: ["spend warning", "消费预警"],
  42: ["voice warning", "语音预警"],
  43: ["data warning", "流量预警"],
  5: ["lost", "流失"],
};

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const CURRENCY = meta("currency");
const MINOR = 10 ** Number(meta("minor-digits"));
const ZONE = meta("zone");

let language = remember("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const watchers = [];

export const spoken = () => language;
const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

export function speak(chosen) {
  language = chosen;
  remember("language", chosen);
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  document.title = word("title");
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-label]")) element.setAttribute("aria-label", word(element.dataset.label));
  for (const element of document.querySelectorAll("[data-hint]")) element.placeholder = word(element.dataset.hint);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
  }
  for (const watcher of watchers) watcher();
}

export const whenSpoken = (watcher) => watchers.push(watcher);

const pick = (pair) => pair[language === "zh" ? 1 : 0];

// A word of ours; anything that is none (a rule's id, a network's name) stands for itself.
export function word(name, ...values) {
  const said = Object.hasOwn(WORDS, name) ? pick(WORDS[name]) : String(name);
  return said.replace(/\{(\d)\}/g, (_, at) => String(values[Number(at)]));
}

// A text in several languages: ours, else English, else whatever there is.
export const sentence = (texts) => texts?.[language] ?? texts?.en ?? Object.values(texts ?? {})[0] ?? "";

export const segment = (code) => (Object.hasOwn(SEGMENTS, code) ? `${code} ${pick(SEGMENTS[code])}` : String(code));

export const count = (value) => new Intl.NumberFormat(locale()).format(value);

export const decimal = (value) => new Intl.NumberFormat(locale(), { maximumFractionDigits: 3 }).format(value);

export function money(minor, digits = 0) {
  const options = { style: "currency", currency: CURRENCY, currencyDisplay: "narrowSymbol" };
  return new Intl.NumberFormat(locale(), { ...options, minimumFractionDigits: digits, maximumFractionDigits: digits }).format(minor / MINOR);
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) [value, at] = [value / 1024, at + 1];
  return `${new Intl.NumberFormat(locale(), { maximumFractionDigits: value < 10 ? 1 : 0 }).format(value)} ${units[at]}`;
}

export function moment(instant) {
  const options = { timeZone: ZONE, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat(locale(), options).format(new Date(instant));
}

export function date(day) {
  const options = { timeZone: "UTC", year: "numeric", month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(locale(), options).format(new Date(`${day}T00:00:00Z`));
}
