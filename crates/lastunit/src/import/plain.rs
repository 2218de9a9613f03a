//! The plain format: one SKU a row, in the columns product, sku, name, price, stock.

use std::collections::HashMap;

use super::{
    Import,
    table::{Problem, Row, Table},
};
use crate::{Currency, NewProduct, NewSku, slug};

const COLUMNS: [&str; 5] = ["product", "sku", "name", "price", "stock"];

/// Reads the products; or everything that is wrong.
pub(super) fn read(table: &Table, currency: Currency) -> Result<Import, Vec<Problem>> {
    let missing = COLUMNS.iter().filter(|name| !table.has(name)).map(|name| format!("no column {name:?}"));
    let unknown = table.header().iter().filter(|name| !COLUMNS.contains(&name.as_str()));
    let unknown = unknown.map(|name| format!("the column {name:?} isn't known"));
    let wrong: Vec<_> = missing.chain(unknown).map(|what| Problem::at_line(1, what)).collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }

    let mut problems = Vec::new();
    let mut products: Vec<NewProduct> = Vec::new();
    let mut by_handle: HashMap<String, usize> = HashMap::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for row in table.rows() {
        let sku = match sku(&row, currency) {
            Ok(sku) => sku,
            Err(wrong) => {
                problems.extend(wrong);
                continue;
            }
        };
        if let Some(line) = lines.insert(sku.code.clone(), row.line()) {
            problems.push(row.problem("sku", format!("{:?} stands in line {line} already", sku.code)));
        }
        let name = row.get("product");
        let at = *by_handle.entry(slug(name)).or_insert_with(|| {
            products.push(NewProduct {
                handle: Some(slug(name)),
                name: name.into(),
                description: String::new(),
                skus: Vec::new(),
            });
            products.len() - 1
        });
        products[at].skus.push(sku);
    }
    if problems.is_empty() {
        Ok(Import { format: "product,sku,name,price,stock", products, notes: Vec::new() })
    } else {
        Err(problems)
    }
}

fn sku(row: &Row<'_>, currency: Currency) -> Result<NewSku, Vec<Problem>> {
    let mut problems = Vec::new();
    for column in ["product", "sku", "name"] {
        if row.get(column).is_empty() {
            problems.push(row.problem(column, "it is empty"));
        }
    }
    if !row.get("product").is_empty() && slug(row.get("product")).is_empty() {
        problems.push(row.problem("product", "it has no letter or digit to make a handle of"));
    }
    let price = row.price("price", currency).map_err(|problem| problems.push(problem));
    let stock = row.stock("stock").map_err(|problem| problems.push(problem));
    match (price, stock) {
        (Ok(price), Ok(stock)) if problems.is_empty() => Ok(NewSku {
            code: row.get("sku").into(),
            name: row.get("name").into(),
            price,
            stock,
            on_sale: true,
        }),
        _ => Err(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(text: &str) -> Result<Import, Vec<String>> {
        let currency = Currency::new("GBP").unwrap();
        super::super::read(text.as_bytes(), currency)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rows_of_one_product_are_gathered_in_any_column_order() {
        let import =
            import("sku,product,price,stock,name\nA-1,Mug,9.5,3,Red\nB-1,Cup,4,,Cup\nA-2,Mug,10,0,Blue\n");
        let products = import.unwrap().products;
        assert_eq!(products.iter().map(|p| p.skus.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!((products[0].skus[0].price.get(), products[0].skus[0].stock), (950, 3));
        assert_eq!(products[1].skus[0].stock, 0);
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_column() {
        let problems =
            import("product,sku,name,price,stock\nMug,A,Red,9.999,3\nMug,,Red,1,-4\nMug,B,\"two\nlines\",1,1\nMug,B,x,1,1\n")
                .unwrap_err();
        assert!(problems[0].starts_with("line 2, column 4 (price): \"9.999\""), "{problems:#?}");
        assert!(problems[1].starts_with("line 3, column 2 (sku)"), "{problems:#?}");
        assert!(problems[2].starts_with("line 3, column 5 (stock): \"-4\""), "{problems:#?}");
        assert_eq!(problems[3], "line 6, column 2 (sku): \"B\" stands in line 4 already");
        assert!(import("product,sku,name,price,stock\nMug,A,Red\n").unwrap_err()[0].contains("line 2"));
        assert!(import("product,sku,name,price\n").unwrap_err()[0].contains("no column \"stock\""));
        assert!(import("a,b\n1,2\n").unwrap_err()[0].contains("neither"));
        assert!(import("product,sku,name,price,stock\n").unwrap_err()[0].contains("no product"));
        assert!(!import("product,sku,name,price,stock\nMug,A,\"a\u{202e}b\",1,1\n").unwrap_err().is_empty());
    }
}
