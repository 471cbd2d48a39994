// SPDX-License-Identifier: GPL-2.0-or-later
// A bcoin node on regtest that another program steers: one JSON object per line on standard input, one per answer.
//
//   node node.js '{"port": 18444, "bip37": true}'
//   {"event": "ready", "host": "127.0.0.1", "port": 18444}
//   {"id": 1, "method": "mine", "params": {"blocks": 2}}    ->    {"id": 1, "result": ["<block hash>", ...]}
//
// It speaks to loopback only, stores nothing on disk and ends when standard input does.
'use strict';

process.env.NODE_BACKEND = 'js'; // bcoin's native modules do not build with current compilers

const readline = require('readline');
const net = require('net');
const tcp = require('btcp');
const SHA256 = require('bcrypto/lib/sha256');
const Network = require('bcoin/lib/protocol/network');
const consensus = require('bcoin/lib/protocol/consensus');
const Chain = require('bcoin/lib/blockchain/chain');
const Mempool = require('bcoin/lib/mempool/mempool');
const Miner = require('bcoin/lib/mining/miner');
const Pool = require('bcoin/lib/net/pool');
const Peer = require('bcoin/lib/net/peer');
const NetAddress = require('bcoin/lib/net/netaddress');
const {typesByVal} = require('bcoin/lib/net/packets');
const KeyRing = require('bcoin/lib/primitives/keyring');
const MTX = require('bcoin/lib/primitives/mtx');
const TX = require('bcoin/lib/primitives/tx');
const util = require('bcoin/lib/utils/util');

const options = {
  host: '127.0.0.1',
  port: 0, // 0: the system picks one
  spv: false,
  compact: true,
  blockMode: 0, // what we ask for with sendcmpct: 0 low bandwidth, 1 high bandwidth
  bip37: true,
  key: 'scapy_btc', // seed of the node's keys
  agent: null,
  feeRate: -1, // satoshi per kB for feefilter, -1 sends none
  invInterval: 200, // milliseconds between announcements of transactions; bcoin's own is 5000
  segwitWindow: 8, // BIP 9 window, so that segwit is active from height 24; bcoin's own regtest has 144
  ...JSON.parse(process.argv[2] || '{}')
};

const FEE = 10000;
const LOOPBACK = new net.BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function isLoopback(host) {
  return net.isIP(host) !== 0 && LOOPBACK.check(host, net.isIPv6(host) ? 'ipv6' : 'ipv4');
}

// bcoin looks for more peers by itself: in DNS, in addr messages, and it asks a public server for its own address.
class LoopbackPool extends Pool {
  async discoverExternal() {}
  async discoverSeeds() {}
  fillOutbound() {}
}

function createSocket(port, host) {
  if (!isLoopback(host))
    throw new Error(`not a loopback address: ${host}`);
  return tcp.createSocket(port, host);
}

const network = Network.get('regtest');
network.deployments.segwit.window = options.segwitWindow;
network.deployments.segwit.threshold = options.segwitWindow;
Peer.INV_INTERVAL = options.invInterval;

// One key for each kind of output: bcoin's index of coins knows hashes only, not what kind of address they are in.
const rings = {};
for (const kind of ['p2pkh', 'p2wpkh']) {
  rings[kind] = KeyRing.fromPrivate(SHA256.digest(Buffer.from(`${options.key} ${kind}`, 'utf8')), true);
  rings[kind].witness = kind === 'p2wpkh';
}

const chain = new Chain({network, memory: true, spv: options.spv, indexAddress: !options.spv, checkpoints: true});
const mempool = options.spv ? null : new Mempool({network, chain, memory: true});
const miner = options.spv ? null : new Miner({network, chain, mempool});
const pool = new LoopbackPool({
  network,
  chain,
  mempool,
  createSocket,
  memory: true,
  seeds: [],
  resolve: async () => [],
  listen: !options.spv,
  host: options.host,
  maxOutbound: 8,
  maxInbound: 64,
  compact: options.compact,
  blockMode: options.blockMode,
  bip37: options.bip37,
  selfish: options.spv
});
if (options.agent)
  pool.options.agent = options.agent;
pool.options.feeRate = options.feeRate; // the constructor takes its own default instead of what it is given
pool.options.port = options.port; // the constructor refuses 0
pool.hosts.local.clear(); // the machine's own addresses, which bcoin would announce

const received = {}; // messages by type that bcoin could read
const errors = []; // the latest of bcoin's complaints

function complain(err) {
  errors.push(err.message);
  if (errors.length > 20)
    errors.shift();
}

for (const part of [chain, mempool, miner, pool]) {
  if (part)
    part.on('error', complain);
}

chain.on('connect', async (entry, block) => {
  if (mempool)
    await mempool._addBlock(entry, block.txs);
});

chain.on('disconnect', async (entry, block) => {
  if (mempool)
    await mempool._removeBlock(entry, block.txs);
});

chain.on('reorganize', async () => {
  if (mempool)
    await mempool._handleReorg();
});

pool.on('packet', (packet) => {
  const name = packet.cmd || typesByVal[packet.type].toLowerCase();
  received[name] = (received[name] || 0) + 1;
});

pool.on('peer connect', peer => peer.on('error', complain));

// A spendable coin of the wanted kind: in the chain, mature, not spent in the mempool, the oldest first.
async function findCoin(ring, value) {
  const coins = await chain.getCoinsByAddress(ring.getAddress());
  const height = chain.height + 1;
  const usable = coins.filter(coin => coin.value >= value
    && (!coin.coinbase || height - coin.height >= consensus.COINBASE_MATURITY)
    && !mempool.isSpent(coin.hash, coin.index));
  usable.sort((a, b) => a.height - b.height || a.index - b.index);
  if (usable.length === 0)
    throw new Error(`no spendable coin of ${value} satoshi at height ${chain.height}`);
  return usable[0];
}

const methods = {
  async info() {
    const peers = [];
    for (let peer = pool.peers.head(); peer; peer = peer.next) {
      peers.push({
        address: peer.hostname(),
        outbound: peer.outbound,
        handshake: peer.handshake,
        agent: peer.agent,
        services: peer.services,
        compactMode: peer.compactMode,
        preferHeaders: peer.preferHeaders,
        filter: Boolean(peer.spvFilter),
        banScore: peer.banScore
      });
    }
    return {
      height: chain.height,
      tip: chain.tip.rhash(),
      synced: chain.synced,
      segwit: chain.state.hasWitness(),
      mempool: mempool ? mempool.getSnapshot().map(util.revHex) : [],
      peers,
      received,
      errors
    };
  },

  // Without `transactions` a block takes what the mempool has; with it, exactly these and in this order.
  async mine({blocks = 1, to = 'p2wpkh', transactions = null}) {
    const hashes = [];
    for (let i = 0; i < blocks; i++) {
      const job = await miner.createJob(null, rings[to].getAddress());
      if (transactions) {
        job.attempt.items = [];
        job.attempt.fees = 0;
        for (const hex of transactions) {
          const tx = TX.fromRaw(hex, 'hex');
          job.pushTX(tx, await mempool.getSpentView(tx));
        }
        job.refresh();
      }
      const block = await job.mineAsync();
      if (!await chain.add(block))
        throw new Error('the mined block did not connect');
      hashes.push(block.rhash());
    }
    return hashes;
  },

  // A signed transaction from one of the node's coins to `outputs` ([address or output script in hex, satoshi]).
  async pay({from = 'p2wpkh', outputs = null, value = 100000, relay = true}) {
    const ring = rings[from];
    const targets = outputs || [[ring.getAddress().toString(network), value]];
    const total = targets.reduce((sum, target) => sum + target[1], 0);
    const coin = await findCoin(ring, total + FEE);
    const mtx = new MTX();
    mtx.addCoin(coin);
    for (const [target, amount] of targets) {
      if (/^([0-9a-f]{2})*$/.test(target))
        mtx.addOutput({script: Buffer.from(target, 'hex'), value: amount});
      else
        mtx.addOutput(target, amount);
    }
    mtx.addOutput(ring.getAddress(), coin.value - total - FEE);
    mtx.sign(ring);
    const tx = mtx.toTX();
    if (relay)
      await methods.submit({transaction: tx.toRaw().toString('hex')});
    return {txid: tx.txid(), wtxid: tx.wtxid(), transaction: tx.toRaw().toString('hex')};
  },

  // Into the mempool, from where it is announced.
  async submit({transaction}) {
    const tx = TX.fromRaw(transaction, 'hex');
    if (await mempool.addTX(tx))
      throw new Error('the transaction spends outputs that are not known');
    return tx.txid();
  },

  async block({height}) {
    const block = await chain.getBlock(height);
    if (!block)
      throw new Error(`no block at height ${height}`);
    return block.toRaw().toString('hex');
  },

  async addresses() {
    return {p2pkh: rings.p2pkh.getAddress().toString(network), p2wpkh: rings.p2wpkh.getAddress().toString(network)};
  },

  async connect({host = '127.0.0.1', port}) {
    if (!isLoopback(host))
      throw new Error(`not a loopback address: ${host}`);
    const peer = pool.createOutbound(NetAddress.fromHost(host, port, network));
    pool.peers.add(peer);
    return peer.hostname();
  },

  async disconnect({address = null}) {
    let count = 0;
    for (let peer = pool.peers.head(); peer;) {
      const next = peer.next;
      if (!address || peer.hostname() === address) {
        peer.destroy();
        count += 1;
      }
      peer = next;
    }
    return count;
  },

  // SPV only: put an address or data in hex (an outpoint ...) into the bloom filter and send it with filterload.
  async watch({address = null, data = null}) {
    if (address)
      pool.watchAddress(address);
    else
      pool.watch(data, 'hex');
    return true;
  },

  async ping() {
    for (let peer = pool.peers.head(); peer; peer = peer.next)
      peer.sendPing();
    return true;
  },

  async stop() {
    setImmediate(close);
    return true;
  }
};

let closing = false;

async function close() {
  if (closing)
    return;
  closing = true;
  for (const part of [pool, miner, mempool, chain]) {
    if (part)
      await part.close();
  }
  process.exit(0);
}

function say(object) {
  process.stdout.write(JSON.stringify(object) + '\n');
}

async function answer(line) {
  let id = null;
  try {
    const request = JSON.parse(line);
    id = request.id;
    if (!Object.prototype.hasOwnProperty.call(methods, request.method))
      throw new Error(`unknown method: ${request.method}`);
    say({id, result: await methods[request.method](request.params || {})});
  } catch (err) {
    say({id, error: err.message});
  }
}

async function main() {
  if (!isLoopback(options.host))
    throw new Error(`not a loopback address: ${options.host}`);
  for (const part of [chain, mempool, miner, pool]) {
    if (part)
      await part.open();
  }
  await pool.connect();
  pool.startSync();
  const port = options.spv ? null : pool.server.address().port;
  say({event: 'ready', host: options.host, port});
  let last = Promise.resolve();
  const lines = readline.createInterface({input: process.stdin});
  lines.on('line', (line) => {
    last = last.then(() => answer(line)); // in order: a later request sees what an earlier one did
  });
  lines.on('close', () => last.then(close));
}

main().catch((err) => {
  say({event: 'failed', error: err.message});
  process.exit(1);
});
