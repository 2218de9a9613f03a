'use strict';

const { DefaultLogger, LogLevel, dummyPaymentHandler } = require('@vendure/core');

const database = new URL(process.env.SHOP_DATABASE);

/** A lean production configuration: no plugins, tokens instead of cookies, no query log. */
module.exports = {
    apiOptions: {
        hostname: '127.0.0.1',
        port: Number(process.env.SHOP_PORT),
        adminApiPath: 'admin-api',
        shopApiPath: 'shop-api',
    },
    authOptions: {
        tokenMethod: ['bearer'],
        requireVerification: false,
        // Nobody signs in; Vendure doesn't start with the password that it has by default.
        superadminCredentials: { identifier: 'superadmin', password: process.env.SHOP_PASSWORD },
    },
    dbConnectionOptions: {
        type: 'postgres',
        host: database.hostname,
        port: Number(database.port),
        username: database.username,
        database: database.pathname.slice(1),
        // Only `populate.js` makes the tables.
        synchronize: process.env.SHOP_POPULATE === 'yes',
        logging: false,
        poolSize: Number(process.env.SHOP_POOL),
    },
    paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
    logger: new DefaultLogger({ level: LogLevel.Error }),
};
