'use strict';

// The shop, in as many processes as there are cores to use: a buyer's connection stays with one of them.

const cluster = require('cluster');
const { bootstrap } = require('@vendure/core');
const config = require('./config');

function fail(error) {
    console.error(error);
    process.exit(1);
}

if (cluster.isPrimary) {
    for (let n = 0; n < Number(process.env.SHOP_PROCESSES); n++) {
        cluster.fork();
    }
    cluster.on('exit', () => fail('a process of the shop ended'));
    process.on('SIGTERM', () => process.exit(0));
} else {
    bootstrap(config).catch(fail);
}
