'use strict';

// Makes the tables and fills them: 1,000 SKUs, a shipping method and a payment method that settles at once.

const fs = require('fs');
const path = require('path');
const { bootstrap } = require('@vendure/core');
const { populate } = require('@vendure/core/cli');
const config = require('./config');

const SKUS = 1000;

const initialData = {
    defaultLanguage: 'en',
    defaultZone: 'Europe',
    taxRates: [{ name: 'Standard', percentage: 20 }],
    shippingMethods: [{ name: 'Standard', price: 1000 }],
    paymentMethods: [
        {
            name: 'Dummy',
            handler: { code: 'dummy-payment-handler', arguments: [{ name: 'automaticSettle', value: 'true' }] },
        },
    ],
    countries: [{ name: 'United Kingdom', code: 'GB', zone: 'Europe' }],
    collections: [],
    roles: [],
};

const columns =
    'name,slug,description,assets,facets,optionGroups,optionValues,sku,price,taxCategory,stockOnHand,trackInventory,variantAssets,variantFacets';
const row = n => `Benchmark SKU ${n},bench-${n},,,,,,BENCH-${n},10.00,standard,1000,true,,`;
const rows = Array.from({ length: SKUS }, (_, n) => row(n + 1));

async function main() {
    const csv = path.join(process.env.SHOP_FOLDER, 'products.csv');
    fs.writeFileSync(csv, [columns, ...rows].join('\n'));
    const app = await populate(() => bootstrap(config), initialData, csv);
    await app.close();
}

main().then(
    () => process.exit(0),
    error => {
        console.error(error);
        process.exit(1);
    },
);
